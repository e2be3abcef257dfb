{{/*
Variables of a service that are no secrets, as a YAML map; {root, service, definition, settings}. They become its ConfigMap.
INSTANCE_ID and DATABASE_URL are not among them: one is the pod's own name, the other comes from a Secret.
*/}}
{{- define "settlement.environment" -}}
{{- $root := .root -}}
{{- $topology := include "settlement.topology" $root | fromYaml -}}
REGION: {{ $root.Values.region.name | quote }}
EPOCH: {{ $root.Values.region.epoch | int64 | toString | quote }}
LOG_LEVEL: {{ $root.Values.common.logLevel | quote }}
PARTITIONS: {{ $root.Values.common.partitions | toString | quote }}
DATABASE_POOL_MAX: {{ $root.Values.common.databasePoolMax | toString | quote }}
MIGRATIONS: {{ ternary "wait" "apply" (eq $root.Values.migrations.mode "job") | quote }}
SHUTDOWN_TIMEOUT_MS: {{ .settings.shutdownTimeoutMs | int64 | toString | quote }}
# preStop waits instead, so that the process need not.
SHUTDOWN_DELAY_MS: "0"
SHUTDOWN_LINGER_MS: {{ mul $root.Values.common.lingerSeconds 1000 | toString | quote }}
{{- range $port, $variables := .definition.listen }}
{{ index $variables 0 }}: 0.0.0.0
{{ index $variables 1 }}: {{ index $.definition.ports $port | toString | quote }}
{{- end }}
{{- range $peer := .definition.calls }}
{{ (index $topology $peer).address }}: {{ include "settlement.name" (dict "root" $root "service" $peer) }}-grpc:{{ (index $topology $peer).ports.grpc }}
{{- end }}
FEED: kafka
KAFKA_BROKERS: {{ include "settlement.kafkaBootstrap" $root | quote }}
KAFKA_REPLICATION_FACTOR: {{ $root.Values.kafka.replicationFactor | toString | quote }}
KAFKA_MIN_INSYNC_REPLICAS: {{ $root.Values.kafka.minInsyncReplicas | toString | quote }}
{{- if $root.Values.kafka.tls }}
KAFKA_TLS_CA_FILE: /etc/settlement/kafka/ca/ca.crt
KAFKA_TLS_CERT_FILE: /etc/settlement/kafka/user/{{ include "settlement.kafkaUserFile" $root }}.crt
KAFKA_TLS_KEY_FILE: /etc/settlement/kafka/user/{{ include "settlement.kafkaUserFile" $root }}.key
{{- end }}
{{- if ne $root.Values.tls.mode "none" }}
TLS_CERT_FILE: /etc/settlement/tls/tls.crt
TLS_KEY_FILE: /etc/settlement/tls/tls.key
TLS_CA_FILE: /etc/settlement/tls/ca.crt
TLS_TRUST_DOMAIN: {{ $root.Values.tls.trustDomain | quote }}
{{- else }}
ALLOW_PLAINTEXT: "true"
{{- end }}
{{- if and .definition.chain $root.Values.chains }}
CHAINS: {{ toJson $root.Values.chains | quote }}
{{- end }}
{{- if .definition.lists }}
LISTS_DIR: /etc/settlement/lists
{{- end }}
{{- with $root.Values.common.otlpEndpoint }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ . | quote }}
{{- end }}
{{- end }}

{{/* Strimzi's user secrets hold user.crt, cert-manager's tls.crt. */}}
{{- define "settlement.kafkaUserFile" -}}
{{- if eq .Values.kafka.mode "statefulset" -}}tls{{- else -}}user{{- end -}}
{{- end }}
