{{- define "wpsjobs.name" -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- end }}

{{- define "wpsjobs.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/name: wpsjobs
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Labels by which a part's pods are told: (dict "root" $ "part" "web") */}}
{{- define "wpsjobs.selector" -}}
app.kubernetes.io/name: wpsjobs
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{/* An image: (dict "root" $ "image" .Values.operator.image) */}}
{{- define "wpsjobs.image" -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{- define "wpsjobs.claim" -}}
{{ .Values.storage.existingClaim | default (printf "%s-data" (include "wpsjobs.name" .)) }}
{{- end }}

{{- define "wpsjobs.url" -}}
{{ .Values.eoxserver.url | trimSuffix "/" | default (printf "http://%s-web.%s.svc" (include "wpsjobs.name" .) .Release.Namespace) }}
{{- end }}

{{- define "wpsjobs.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "wpsjobs.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* What web, job and housekeeper pods have in common, so that each sees the same instance. */}}
{{- define "wpsjobs.instanceEnv" -}}
- {name: DJANGO_SETTINGS_MODULE, value: {{ .Values.eoxserver.settingsModule | quote }}}
- {name: ALLOWED_HOSTS, value: {{ join " " .Values.eoxserver.allowedHosts | quote }}}
- name: SECRET_KEY
  valueFrom: {secretKeyRef: {name: {{ include "wpsjobs.name" . }}-django, key: secretKey}}
{{- if .Values.eoxserver.testProcesses }}
- {name: EOXS_TEST_PROCESSES, value: "true"}
{{- end }}
- {name: HOME, value: /tmp}
{{- with .Values.eoxserver.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "wpsjobs.instanceMounts" -}}
- {name: data, mountPath: {{ .Values.storage.mountPath }}}
- {name: tmp, mountPath: /tmp}
- {name: config, mountPath: {{ .Values.eoxserver.configPath }}, subPath: eoxserver.conf, readOnly: true}
{{- end }}

{{- define "wpsjobs.instanceVolumes" -}}
- name: data
  persistentVolumeClaim: {claimName: {{ include "wpsjobs.claim" . }}}
- name: tmp
  emptyDir: {}
- name: config
  configMap: {name: {{ include "wpsjobs.name" . }}-eoxserver}
{{- end }}

{{/* The three folders must be there before EOxServer checks them. */}}
{{- define "wpsjobs.makeFolders" -}}
- name: make-folders
  image: {{ include "wpsjobs.image" (dict "root" . "image" .Values.eoxserver.image) }}
  imagePullPolicy: {{ .Values.eoxserver.image.pullPolicy }}
  command: [mkdir, -p, {{ .Values.storage.mountPath }}/temp, {{ .Values.storage.mountPath }}/perm, {{ .Values.storage.mountPath }}/task]
  securityContext: {{- include "wpsjobs.containerSecurity" . | nindent 4 }}
  resources:
    requests: {cpu: 10m, memory: 16Mi}
  volumeMounts:
    - {name: data, mountPath: {{ .Values.storage.mountPath }}}
{{- end }}

{{- define "wpsjobs.testProcesses" -}}
Echo Sleep Fail Crash Hog Digest Recorder
{{- end }}
