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

{{- define "wpsjobs.workerAccount" -}}
{{ .Values.worker.serviceAccountName | default (printf "%s-worker" (include "wpsjobs.name" .)) }}
{{- end }}

{{/* Names of cluster-wide objects carry the namespace, so that releases do not meet. */}}
{{- define "wpsjobs.clusterName" -}}
{{ include "wpsjobs.name" . }}-{{ .Release.Namespace }}
{{- end }}

{{- define "wpsjobs.url" -}}
{{- $ingress := .Values.web.ingress -}}
{{- if .Values.eoxserver.url -}}
{{ .Values.eoxserver.url | trimSuffix "/" }}
{{- else if and .Values.web.enabled $ingress.enabled -}}
{{ ternary "https" "http" (not (empty $ingress.tls)) }}://{{ first $ingress.hosts }}
{{- else -}}
http://{{ include "wpsjobs.name" . }}-web.{{ .Release.Namespace }}.svc{{ if ne (int .Values.web.service.port) 80 }}:{{ .Values.web.service.port }}{{ end }}
{{- end }}
{{- end }}

{{- define "wpsjobs.resultsUrl" -}}
{{ .Values.eoxserver.resultsUrl | trimSuffix "/" | default (printf "%s/results" (include "wpsjobs.url" .)) }}
{{- end }}

{{- define "wpsjobs.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* What all pods have in common, and where they run: (dict "root" $ "place" .Values.web) */}}
{{- define "wpsjobs.pod" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- range $key := list "runAsUser" "runAsGroup" "fsGroup" }}
  {{- with index $.root.Values.podSecurity $key }}
  {{ $key }}: {{ int64 . }}
  {{- end }}
  {{- end }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
enableServiceLinks: false
{{- range $key := list "nodeSelector" "tolerations" "affinity" }}
{{- with index $.place $key }}
{{ $key }}: {{ toJson . }}
{{- end }}
{{- end }}
{{- end }}

{{/* The queues that the values list, and that of the tasks. */}}
{{- define "wpsjobs.queues" -}}
{{- $queues := .Values.queues }}
{{- if .Values.tracker.enabled }}
{{- $queues = append $queues .Values.tracker.queue }}
{{- end }}
{{- toYaml $queues }}
{{- end }}
