{{- define "rollcall.name" -}}
{{- printf "%s-%s" .root.Release.Name .part | trunc 52 | trimSuffix "-" -}}
{{- end }}

{{- define "rollcall.selector" -}}
app.kubernetes.io/name: rollcall
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "rollcall.labels" -}}
{{ include "rollcall.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "rollcall.image" -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end }}

{{/* What every pod is: no rights, no service account's token, no variables of other Services (`ROLLCALL_PORT` would be
taken for an option). */}}
{{- define "rollcall.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "rollcall.container" -}}
image: {{ include "rollcall.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end }}

{{/* The variables of every workload. A librdkafka setting's dots are underscores in its variable. */}}
{{- define "rollcall.env" -}}
- { name: ROLLCALL_KAFKA__BOOTSTRAP, value: {{ .Values.kafka.bootstrap | quote }} }
{{- with .Values.topics }}
- { name: ROLLCALL_TOPICS__PARTITIONS, value: {{ .partitions | quote }} }
- { name: ROLLCALL_TOPICS__USERS, value: {{ .users | quote }} }
- { name: ROLLCALL_TOPICS__LATE, value: {{ .late | quote }} }
- { name: ROLLCALL_TOPICS__DEAD_LETTER, value: {{ .deadLetter | quote }} }
{{- with .state }}
- { name: ROLLCALL_STATE_TOPIC__ENABLED, value: "true" }
- { name: ROLLCALL_STATE_TOPIC__TOPIC, value: {{ . | quote }} }
{{- end }}
{{- end }}
{{- range $name, $value := .Values.kafka.properties }}
- { name: ROLLCALL_KAFKA__PROPERTIES__{{ $name | upper | replace "." "_" }}, value: {{ $value | quote }} }
{{- end }}
{{- with .Values.kafka.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The configuration of a service. Its topics would not reach the Jobs, and the variables override them. */}}
{{- define "rollcall.config" -}}
{{- $config := (index .root.Values .part).config }}
{{- if regexMatch "(?m)^\\s*(\\[\\s*)?(topics|state_topic)\\b" $config }}
{{- fail (printf "%s.config: topics belong to the values topics.*, which every workload has" .part) }}
{{- end }}
{{- $config | toJson }}
{{- end }}

{{/* One pod a node where there are nodes enough, and zones before nodes. */}}
{{- define "rollcall.spread" -}}
topologySpreadConstraints:
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "rollcall.selector" $ | nindent 8 }}
{{- end }}
{{- end }}

{{/* A start takes as long as the topic is long: the liveness is asked from the first second, the readiness says the rest. */}}
{{- define "rollcall.probes" -}}
livenessProbe:
  httpGet: { path: /livez, port: admin }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: { path: /readyz, port: admin }
  periodSeconds: 3
  timeoutSeconds: 3
  failureThreshold: 2
{{- end }}
