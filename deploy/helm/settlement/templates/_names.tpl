{{/* What the services are: files/topology.yaml as an object. */}}
{{- define "settlement.topology" -}}
{{ .Files.Get "files/topology.yaml" }}
{{- end }}

{{/* <release>-<service>; the dictionary {root, service}. */}}
{{- define "settlement.name" -}}
{{ .root.Release.Name }}-{{ .service }}
{{- end }}

{{/* Not empty where the services and Kafka run: everywhere but in the region that only votes on commits. */}}
{{- define "settlement.serving" -}}
{{- if ne .Values.region.role "witness" -}}true{{- end -}}
{{- end }}

{{/* Labels of everything; {root, component}. */}}
{{- define "settlement.labels" -}}
{{ include "settlement.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Values.image.tag | default .root.Chart.AppVersion | toString | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: settlement
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* What never changes for a component, so that it may stand in a selector; {root, component}. */}}
{{- define "settlement.selectorLabels" -}}
app.kubernetes.io/name: settlement
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of pods: without the chart's version, which must not restart anything; {root, component, tag?}. */}}
{{- define "settlement.podLabels" -}}
{{ include "settlement.selectorLabels" . }}
app.kubernetes.io/version: {{ .tag | default .root.Values.image.tag | default .root.Chart.AppVersion | toString | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: settlement
{{- end }}

{{/* <registry>/settlement-<service>:<tag>[@digest]; {root, service, tag?}. */}}
{{- define "settlement.serviceImage" -}}
{{- $digest := index .root.Values.image.digests .service | default "" -}}
{{ .root.Values.image.registry }}/settlement-{{ .service }}:{{ .tag | default .root.Values.image.tag }}{{ with $digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "settlement.postgresName" -}}
{{ .Release.Name }}-postgres
{{- end }}

{{- define "settlement.kafkaName" -}}
{{ .Release.Name }}-kafka
{{- end }}

{{/* host:port of the brokers, for clients in this namespace. */}}
{{- define "settlement.kafkaBootstrap" -}}
{{- if eq .Values.kafka.mode "external" -}}{{ .Values.kafka.bootstrap }}
{{- else -}}{{ include "settlement.kafkaName" . }}-bootstrap:9092
{{- end -}}
{{- end }}

{{/* Secret that holds the brokers' authority as ca.crt. */}}
{{- define "settlement.kafkaCaSecret" -}}
{{- if eq .Values.kafka.mode "external" -}}{{ .Values.kafka.external.caSecretName }}
{{- else if eq .Values.kafka.mode "strimzi" -}}{{ .Release.Name }}-cluster-ca-cert
{{- else -}}{{ include "settlement.kafkaName" . }}-tls
{{- end -}}
{{- end }}

{{/* Secret that holds the authority of Postgres' certificates as ca.crt; empty: the system's. */}}
{{- define "settlement.postgresCaSecret" -}}
{{- if eq .Values.postgres.mode "external" -}}{{ .Values.postgres.external.caSecretName }}
{{- else -}}{{ include "settlement.postgresName" . }}-ca
{{- end -}}
{{- end }}

{{- define "settlement.postgresHost" -}}
{{ include "settlement.postgresName" . }}-rw
{{- end }}

{{/* postgres://…; {root, service, database, password}, the password as it stands in a URL. */}}
{{- define "settlement.databaseUrl" -}}
postgres://{{ .database }}:{{ .password }}@{{ include "settlement.postgresHost" .root }}:5432/{{ .database }}?sslmode=verify-full&sslrootcert=/etc/settlement/database/ca.crt
{{- end }}

{{/* Name of a priority class; {root, kind: data|service}. */}}
{{- define "settlement.priorityClass" -}}
{{- $class := index .root.Values.scheduling.priorityClasses .kind -}}
{{- if $class.name -}}{{ $class.name }}
{{- else if .root.Values.scheduling.priorityClasses.create -}}{{ .root.Release.Name }}-{{ .kind }}
{{- end -}}
{{- end }}

{{/* Whether the chart's own issuer signs: certManager without a given one. */}}
{{- define "settlement.ownIssuer" -}}
{{- if and (eq .Values.tls.mode "certManager") (not .Values.tls.certManager.issuerRef.name) -}}true{{- end -}}
{{- end }}

{{- define "settlement.issuerRef" -}}
{{- if include "settlement.ownIssuer" . -}}
name: {{ .Release.Name }}-ca
kind: Issuer
group: cert-manager.io
{{- else -}}
{{ toYaml .Values.tls.certManager.issuerRef }}
{{- end -}}
{{- end }}

{{/* Not empty where KEDA's kinds may be rendered. */}}
{{- define "settlement.keda" -}}
{{- $keda := .Values.autoscaling.keda -}}
{{- if and .Values.autoscaling.enabled $keda.enabled (or $keda.withoutCapabilities (.Capabilities.APIVersions.Has "keda.sh/v1alpha1")) -}}true{{- end -}}
{{- end }}

{{/* hpa, keda or none: how a service scales in the end; {root, service, settings}. */}}
{{- define "settlement.scaler" -}}
{{- $kind := .settings.autoscaling.kind -}}
{{- if or (not .root.Values.autoscaling.enabled) (eq $kind "none") -}}none
{{- else if and (eq $kind "keda") (not (include "settlement.keda" .root)) -}}hpa
{{- else -}}{{ $kind }}
{{- end -}}
{{- end }}

{{/* Least replicas that a service runs with; {root, service, settings}. */}}
{{- define "settlement.replicasMin" -}}
{{- if eq (include "settlement.scaler" .) "none" -}}{{ .settings.replicas }}{{- else -}}{{ .settings.autoscaling.minReplicas }}{{- end -}}
{{- end }}
