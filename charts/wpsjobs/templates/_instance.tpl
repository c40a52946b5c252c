{{/* The EOxServer instance: what web, job, housekeeper and hook pods have in common. */}}

{{- define "wpsjobs.pythonPath" -}}
{{- $folders := append .Values.eoxserver.pythonPath .Values.eoxserver.instancePath -}}
{{- if .Values.eoxserver.instance.configMap -}}
{{- $folders = prepend $folders .Values.eoxserver.instance.mountPath -}}
{{- end -}}
{{ join ":" $folders }}
{{- end }}

{{- define "wpsjobs.instanceEnv" -}}
- name: SECRET_KEY
  valueFrom: {secretKeyRef: {name: {{ include "wpsjobs.name" . }}-django, key: secretKey}}
{{ include "wpsjobs.settingsEnv" . }}
{{- end }}

{{/* The same without Django's secret, which is not there before the first install. */}}
{{- define "wpsjobs.settingsEnv" -}}
- {name: DJANGO_SETTINGS_MODULE, value: {{ .Values.eoxserver.settingsModule | quote }}}
- {name: PYTHONPATH, value: {{ include "wpsjobs.pythonPath" . | quote }}}
- {name: ALLOWED_HOSTS, value: {{ join " " .Values.eoxserver.allowedHosts | quote }}}
{{- if eq .Values.database.type "postgis" }}
- {name: DB, value: postgis}
{{- range $variable, $key := dict "DB_HOST" "host" "DB_PORT" "port" "DB_NAME" "dbname" "DB_USER" "user" "DB_PW" "password" }}
- name: {{ $variable }}
  valueFrom: {secretKeyRef: {name: {{ $.Values.database.existingSecret }}, key: {{ $key }}}}
{{- end }}
{{- end }}
{{- if .Values.eoxserver.testProcesses }}
- {name: EOXS_TEST_PROCESSES, value: "true"}
{{- end }}
{{- with .Values.pipeline }}
{{- if .enabled }}
- {name: WPSJOBS_PIPELINE, value: "true"}
- {name: WPSJOBS_PIPELINE_CHANGING_GETS, value: {{ .changingGets | quote }}}
- {name: WPSJOBS_PIPELINE_PROCESSES, value: {{ join " " .processes | quote }}}
{{- with .plan }}
- {name: WPSJOBS_PIPELINE_PLAN, value: {{ . | quote }}}
{{- end }}
{{- end }}
{{- end }}
- {name: HOME, value: /tmp}
{{- with .Values.eoxserver.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "wpsjobs.instanceMounts" -}}
- {name: data, mountPath: {{ .Values.storage.mountPath }}}
{{ include "wpsjobs.settingsMounts" . }}
{{- end }}

{{- define "wpsjobs.settingsMounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: config, mountPath: {{ .Values.eoxserver.configPath }}, subPath: eoxserver.conf, readOnly: true}
{{- if .Values.eoxserver.instance.configMap }}
- {name: instance, mountPath: {{ .Values.eoxserver.instance.mountPath }}, readOnly: true}
{{- end }}
{{- with .Values.eoxserver.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "wpsjobs.instanceVolumes" -}}
- name: data
  persistentVolumeClaim: {claimName: {{ include "wpsjobs.claim" . }}}
{{ include "wpsjobs.settingsVolumes" (dict "root" . "config" (printf "%s-eoxserver" (include "wpsjobs.name" .))) }}
{{- end }}

{{/* (dict "root" $ "config" "name of the ConfigMap with eoxserver.conf") */}}
{{- define "wpsjobs.settingsVolumes" -}}
- name: tmp
  emptyDir: {}
- name: config
  configMap: {name: {{ .config }}}
{{- with .root.Values.eoxserver.instance.configMap }}
- name: instance
  configMap: {name: {{ . }}}
{{- end }}
{{- with .root.Values.eoxserver.extraVolumes }}
{{ toYaml . }}
{{- end }}
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
Echo Sleep Fail Crash Hog Digest Tiles Recorder
{{- end }}

{{- define "wpsjobs.eoxserverConf" -}}
[core.system]
instance_id={{ .Release.Name }}

[services.owscommon]
http_service_url={{ include "wpsjobs.url" . }}/ows?

[services.ows]
update_sequence=1
name={{ .Release.Name }}
title=EOxServer
abstract=EOxServer with asynchronous WPS on Kubernetes
onlineresource={{ include "wpsjobs.url" . }}
keywords=WPS
fees=None
access_constraints=None
provider_name={{ .Release.Name }}
provider_site={{ include "wpsjobs.url" . }}
individual_name=
position_name=
phone_voice=
phone_facsimile=
delivery_point=
city=
administrative_area=
postal_code=
country=
electronic_mail_address=
hours_of_service=
contact_instructions=
role=Service provider

[services.ows.wms]
supported_formats=image/png,image/jpeg,image/gif,image/tiff

[services.ows.wcs]
supported_formats=image/tiff

[services.ows.wps]
path_temp={{ .Values.storage.mountPath }}/temp
path_perm={{ .Values.storage.mountPath }}/perm
path_task={{ .Values.storage.mountPath }}/task
url_base={{ include "wpsjobs.resultsUrl" . }}

[services.ows.wps.kubernetes]
namespace={{ .Release.Namespace }}
queue={{ (first .Values.queues).name }}
{{- if .Values.tracker.enabled }}
tracker_queue={{ .Values.tracker.queue.name }}
{{- end }}
accept_timeout={{ .Values.eoxserver.acceptTimeout }}
{{- with .Values.eoxserver.extraConfig }}

{{ . }}
{{- end }}
{{- end }}
