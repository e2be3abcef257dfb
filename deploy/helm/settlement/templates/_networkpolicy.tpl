{{/* Labels of one service's pods, as a peer in this namespace; {root, component}. */}}
{{- define "settlement.podPeer" -}}
podSelector:
  matchLabels:
    {{- include "settlement.selectorLabels" . | nindent 4 }}
{{- end }}

{{/* Peers of all services that serve. */}}
{{- define "settlement.servicePeers" -}}
{{- range $service, $settings := .Values.services }}
- {{- include "settlement.podPeer" (dict "root" $ "component" $service) | nindent 2 }}
{{- end }}
{{- end }}

{{- define "settlement.postgresPeer" -}}
podSelector:
  matchLabels: {cnpg.io/cluster: {{ include "settlement.postgresName" . }}}
{{- end }}

{{- define "settlement.kafkaPeer" -}}
{{- if eq .Values.kafka.mode "strimzi" -}}
podSelector:
  matchLabels: {strimzi.io/cluster: {{ .Release.Name }}, strimzi.io/name: {{ .Release.Name }}-kafka}
{{- else -}}
{{ include "settlement.podPeer" (dict "root" . "component" "kafka") }}
{{- end -}}
{{- end }}

{{/* Egress rule to Postgres. */}}
{{- define "settlement.egressPostgres" -}}
{{- if eq .Values.postgres.mode "external" -}}
- to:
    {{- toYaml .Values.postgres.external.to | nindent 4 }}
  ports: [{protocol: TCP, port: {{ .Values.postgres.external.port }}}]
{{- else -}}
- to:
    - {{- include "settlement.postgresPeer" . | nindent 6 }}
  ports: [{protocol: TCP, port: 5432}]
{{- end -}}
{{- end }}

{{/* Egress rule to the brokers. */}}
{{- define "settlement.egressKafka" -}}
{{- if eq .Values.kafka.mode "external" -}}
- to:
    {{- toYaml .Values.kafka.external.to | nindent 4 }}
  ports: [{protocol: TCP, port: {{ .Values.kafka.external.port }}}]
{{- else -}}
- to:
    - {{- include "settlement.kafkaPeer" . | nindent 6 }}
  ports: [{protocol: TCP, port: 9092}]
{{- end -}}
{{- end }}

{{/* Egress rule to the API server. */}}
{{- define "settlement.egressApiServer" -}}
- to:
    {{- range .Values.networkPolicy.apiServer.cidrs }}
    - ipBlock: {cidr: {{ . }}}
    {{- end }}
  ports:
    {{- range .Values.networkPolicy.apiServer.ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}
