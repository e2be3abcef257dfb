{{/*
What no schema can say, because it needs two values or the environment: each line is one thing that is refused. All of them
are told at once. Rendered by templates/checks.yaml, which yields no manifest.
*/}}
{{- define "settlement.problems" -}}
{{- $problems := list -}}
{{- $topology := include "settlement.topology" . | fromYaml -}}
{{- $strict := ne .Values.environment "local" -}}
{{- $serving := include "settlement.serving" . -}}
{{- $production := eq .Values.environment "production" -}}

{{- if not .Values.image.tag }}{{ $problems = append $problems "image.tag is needed: the tag that `npm run images` printed" }}{{ end -}}
{{- if eq (.Values.image.tag | toString) "latest" }}{{ $problems = append $problems "image.tag must not be latest: nobody could say what runs" }}{{ end -}}

{{- if $strict -}}
  {{- if eq .Values.secrets.mode "plain" }}{{ $problems = append $problems "secrets.mode=plain is for environment=local only: a release's values are kept in the cluster" }}{{ end -}}
  {{- if eq .Values.tls.mode "none" }}{{ $problems = append $problems "tls.mode=none is for environment=local only: gRPC would be in clear text and unauthenticated" }}{{ end -}}
  {{- if not .Values.networkPolicy.enabled }}{{ $problems = append $problems "networkPolicy.enabled=false is for environment=local only" }}{{ end -}}
  {{- if eq .Values.screening.lists.kind "inline" }}{{ $problems = append $problems "screening.lists.kind=inline is for environment=local only: real lists do not fit into values" }}{{ end -}}
  {{- if not .Values.kafka.tls }}{{ $problems = append $problems "kafka.tls=false is for environment=local only" }}{{ end -}}
  {{- range $service, $settings := .Values.services -}}
    {{- $min := include "settlement.replicasMin" (dict "root" $ "service" $service "settings" $settings) | int -}}
    {{- if lt $min 2 }}{{ $problems = append $problems (printf "services.%s runs with %d replica: a drain would stop it (environment=local may)" $service $min) }}{{ end -}}
  {{- end -}}
  {{- if and $serving (eq .Values.postgres.mode "cloudnativepg") (lt (.Values.postgres.instances | int) 3) }}{{ $problems = append $problems "postgres.instances below 3: with one standby away every commit would wait" }}{{ end -}}
  {{- if not .Values.networkPolicy.webhooks.ports }}{{ $problems = append $problems "networkPolicy.webhooks.ports is empty: any port is for environment=local only" }}{{ end -}}
  {{- if not (has "10.0.0.0/8" .Values.networkPolicy.webhooks.except) }}{{ $problems = append $problems "networkPolicy.webhooks.except must keep private ranges out: a merchant names the address" }}{{ end -}}
  {{- range .Values.networkPolicy.apiServer.cidrs -}}
    {{- if eq . "0.0.0.0/0" }}{{ $problems = append $problems "networkPolicy.apiServer.cidrs: 0.0.0.0/0 is the whole internet; name the API server" }}{{ end -}}
  {{- end -}}
  {{- range $service, $settings := .Values.services -}}
    {{- if eq (index $settings.env "WEBHOOK_ALLOW_PRIVATE" | default "false" | toString) "true" }}{{ $problems = append $problems (printf "services.%s.env.WEBHOOK_ALLOW_PRIVATE is for environment=local only" $service) }}{{ end -}}
  {{- end -}}
{{- end -}}
{{- if $production -}}
  {{- if and $serving (eq .Values.kafka.mode "statefulset") }}{{ $problems = append $problems "kafka.mode=statefulset has no operator behind it: production takes strimzi or external" }}{{ end -}}
  {{- if and $serving (eq .Values.postgres.mode "cloudnativepg") (not .Values.postgres.backup.enabled) }}{{ $problems = append $problems "postgres.backup.enabled=false: production keeps backups" }}{{ end -}}
  {{- if ne .Values.postgres.synchronous.dataDurability "required" }}{{ $problems = append $problems "postgres.synchronous.dataDurability must be required: an acknowledged payment is on two nodes (I1)" }}{{ end -}}
{{- end -}}

{{- if and (eq .Values.postgres.mode "cloudnativepg") (ge (.Values.postgres.synchronous.number | int) (.Values.postgres.instances | int)) (not .Values.postgres.voters) }}{{ $problems = append $problems "postgres.synchronous.number must be smaller than postgres.instances: no commit would ever be acknowledged" }}{{ end -}}
{{- if and .Values.networkPolicy.enabled (eq .Values.postgres.mode "cloudnativepg") (not .Values.networkPolicy.apiServer.cidrs) }}{{ $problems = append $problems "networkPolicy.apiServer.cidrs is needed: Postgres instances ask the API server who is primary (kubectl get endpoints kubernetes)" }}{{ end -}}
{{- if and $serving .Values.networkPolicy.enabled (eq .Values.kafka.mode "strimzi") (not .Values.networkPolicy.apiServer.cidrs) }}{{ $problems = append $problems "networkPolicy.apiServer.cidrs is needed: Strimzi's entity operator watches topics and users" }}{{ end -}}
{{- if and $serving .Values.networkPolicy.enabled (not .Values.networkPolicy.chainEndpoints) }}{{ $problems = append $problems "networkPolicy.chainEndpoints is needed: no service could reach a chain" }}{{ end -}}
{{- if and .Values.networkPolicy.enabled .Values.common.otlpEndpoint (not .Values.networkPolicy.otlp.to) }}{{ $problems = append $problems "networkPolicy.otlp.to is needed with common.otlpEndpoint" }}{{ end -}}
{{- if and .Values.networkPolicy.enabled .Values.postgres.backup.enabled (eq .Values.postgres.backup.method "plugin") (not .Values.networkPolicy.backups.to) }}{{ $problems = append $problems "networkPolicy.backups.to is needed with postgres.backup" }}{{ end -}}
{{- if and (eq .Values.postgres.mode "external") (not .Values.postgres.external.to) .Values.networkPolicy.enabled }}{{ $problems = append $problems "postgres.external.to is needed: where the server is, for the NetworkPolicies" }}{{ end -}}
{{- if and (eq .Values.postgres.mode "external") (eq .Values.secrets.mode "plain") }}{{ $problems = append $problems "secrets.mode=plain holds passwords, not addresses: with postgres.mode=external take existing or externalSecrets" }}{{ end -}}
{{- if eq .Values.kafka.mode "external" -}}
  {{- if not .Values.kafka.bootstrap }}{{ $problems = append $problems "kafka.bootstrap is needed with kafka.mode=external" }}{{ end -}}
  {{- if and .Values.networkPolicy.enabled (not .Values.kafka.external.to) }}{{ $problems = append $problems "kafka.external.to is needed: where the brokers are, for the NetworkPolicies" }}{{ end -}}
  {{- if and .Values.kafka.tls (not .Values.kafka.external.caSecretName) }}{{ $problems = append $problems "kafka.external.caSecretName is needed with kafka.tls" }}{{ end -}}
{{- end -}}
{{- if and (eq .Values.kafka.mode "statefulset") .Values.kafka.tls (ne .Values.tls.mode "certManager") }}{{ $problems = append $problems "kafka.tls with kafka.mode=statefulset needs tls.mode=certManager, which makes the brokers' certificates" }}{{ end -}}
{{- if gt (.Values.kafka.replicationFactor | int) (.Values.kafka.brokers | int) }}{{ $problems = append $problems "kafka.replicationFactor is larger than kafka.brokers" }}{{ end -}}
{{- if and (gt (.Values.kafka.brokers | int) 1) (ge (.Values.kafka.minInsyncReplicas | int) (.Values.kafka.replicationFactor | int)) }}{{ $problems = append $problems "kafka.minInsyncReplicas must be smaller than kafka.replicationFactor: one broker away would stop the feed" }}{{ end -}}
{{- if lt (.Values.kafka.resources.memoryMiB.limit | int) (add 256 (.Values.kafka.heapMiB | int) | int) }}{{ $problems = append $problems "kafka.heapMiB leaves less than 256 MiB of the memory limit" }}{{ end -}}

{{- range $service, $settings := .Values.services -}}
  {{- $definition := index $topology $service -}}
  {{- $context := dict "root" $ "service" $service "settings" $settings "definition" $definition -}}
  {{- $scaling := $settings.autoscaling -}}
  {{- $scaler := include "settlement.scaler" $context -}}
  {{- if gt ($settings.memoryMiB.request | int) ($settings.memoryMiB.limit | int) }}{{ $problems = append $problems (printf "services.%s.memoryMiB.request is larger than its limit" $service) }}{{ end -}}
  {{- if gt ($scaling.minReplicas | int) ($scaling.maxReplicas | int) }}{{ $problems = append $problems (printf "services.%s.autoscaling.minReplicas is larger than maxReplicas" $service) }}{{ end -}}
  {{- $most := ternary $settings.replicas $scaling.maxReplicas (eq $scaler "none") | int -}}
  {{- if $definition.lanes -}}
    {{- if gt $most ($settings.lanes | int) }}{{ $problems = append $problems (printf "services.%s may run %d replicas for %d lanes: those beyond would own no key" $service $most ($settings.lanes | int)) }}{{ end -}}
    {{- $keys := index (index $.Values.secrets.plain.services $service | default dict) "RELAYER_KEYS" -}}
    {{- if and $keys (ne (len (fromJsonArray $keys)) ($settings.lanes | int)) }}{{ $problems = append $problems (printf "services.%s.lanes is %d, RELAYER_KEYS has %d keys" $service ($settings.lanes | int) (len (fromJsonArray $keys))) }}{{ end -}}
  {{- end -}}
  {{- $longest := index $settings.env "X402_SETTLE_TIMEOUT_MS" | default (index $settings.env "RPC_TIMEOUT_MS") | default "0" | int -}}
  {{- if ge $longest ($settings.shutdownTimeoutMs | int) }}{{ $problems = append $problems (printf "services.%s.shutdownTimeoutMs is not longer than what it may have in hand (%d ms, by its env)" $service $longest) }}{{ end -}}
  {{- if and (eq $scaler "keda") (not $definition.backlog) }}{{ $problems = append $problems (printf "services.%s.autoscaling.kind=keda: %s has no backlog to scale on, take hpa" $service $service) }}{{ end -}}
  {{- if and (eq $scaler "keda") $definition.consumers (gt ($scaling.maxReplicas | int) ($.Values.common.partitions | int)) }}{{ $problems = append $problems (printf "services.%s.autoscaling.maxReplicas is larger than common.partitions (%d): consumers beyond would be idle" $service ($.Values.common.partitions | int)) }}{{ end -}}
  {{- range $name, $port := $settings.service.nodePorts -}}
    {{- if not (hasKey $definition.ports $name) }}{{ $problems = append $problems (printf "services.%s.service.nodePorts.%s: it has no such port (%s)" $service $name (keys $definition.ports | sortAlpha | join ", ")) }}{{ end -}}
    {{- if ne $settings.service.type "NodePort" }}{{ $problems = append $problems (printf "services.%s.service.nodePorts.%s needs service.type=NodePort" $service $name) }}{{ end -}}
  {{- end -}}
  {{- $own := include "settlement.environment" (merge $context (dict "component" $service)) | fromYaml -}}
  {{- range $name, $_ := $settings.env -}}
    {{- if or (hasKey $own $name) (has $name (list "INSTANCE_ID" "DATABASE_URL" "PARTITION_MAP" "NODE_OPTIONS" "ALLOW_PLAINTEXT")) }}{{ $problems = append $problems (printf "services.%s.env.%s is set by the chart" $service $name) }}{{ end -}}
    {{- if or (has $name $definition.secretKeys) (has $name $definition.optionalSecretKeys) }}{{ $problems = append $problems (printf "services.%s.env.%s is a secret: it belongs into the Secret %s-%s" $service $name $.Release.Name $service) }}{{ end -}}
  {{- end -}}
  {{- if eq $.Values.secrets.mode "plain" -}}
    {{- $given := index $.Values.secrets.plain.services $service | default dict -}}
    {{- range (include "settlement.requiredSecretKeys" $context | fromJson).keys -}}
      {{- if not (index $given .) }}{{ $problems = append $problems (printf "secrets.plain.services.%s.%s is missing" $service .) }}{{ end -}}
    {{- end -}}
    {{- range $name, $_ := $given -}}
      {{- if not (has $name (concat $definition.secretKeys $definition.optionalSecretKeys (list "CHAINS"))) }}{{ $problems = append $problems (printf "secrets.plain.services.%s.%s: %s has no such secret" $service $name $service) }}{{ end -}}
    {{- end -}}
    {{- if and (eq $.Values.postgres.mode "cloudnativepg") (not (index $.Values.secrets.plain.databasePasswords $service)) }}{{ $problems = append $problems (printf "secrets.plain.databasePasswords.%s is missing" $service) }}{{ end -}}
  {{- end -}}
{{- end -}}
{{- if and (eq .Values.screening.lists.kind "inline") (not .Values.screening.lists.inline) }}{{ $problems = append $problems "screening.lists.inline is empty" }}{{ end -}}
{{- if and (eq .Values.screening.lists.kind "configMap") (not .Values.screening.lists.items) }}{{ $problems = append $problems "screening.lists.items is empty: which key is which file" }}{{ end -}}
{{- if ne .Values.ingress.kind "none" -}}
  {{- if not .Values.ingress.host }}{{ $problems = append $problems "ingress.host is needed" }}{{ end -}}
  {{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.gatewayFrom) }}{{ $problems = append $problems "networkPolicy.gatewayFrom is needed: the ingress controller's namespace" }}{{ end -}}
  {{- if and (eq .Values.ingress.kind "gatewayApi") (not .Values.ingress.parentRefs) }}{{ $problems = append $problems "ingress.parentRefs is needed with kind gatewayApi" }}{{ end -}}
  {{- if and $strict (eq .Values.ingress.kind "ingress") (not .Values.ingress.tlsSecretName) }}{{ $problems = append $problems "ingress.tlsSecretName is needed: API keys must not travel in clear text" }}{{ end -}}
{{- end -}}
{{- if not $serving -}}
  {{- if ne .Values.postgres.mode "cloudnativepg" }}{{ $problems = append $problems "region.role=witness is a Postgres that votes: postgres.mode must be cloudnativepg" }}{{ end -}}
  {{- if ne (.Values.postgres.instances | int) 1 }}{{ $problems = append $problems "region.role=witness has one vote, so postgres.instances must be 1" }}{{ end -}}
  {{- if not .Values.postgres.voters }}{{ $problems = append $problems "region.role=witness needs postgres.voters, the serving regions: alone it must acknowledge nothing" }}{{ end -}}
  {{- if has .Values.region.name .Values.postgres.voters }}{{ $problems = append $problems "postgres.voters names this region: it would acknowledge its own commits" }}{{ end -}}
  {{- if .Values.postgres.backup.enabled }}{{ $problems = append $problems "region.role=witness archives nothing: both serving regions do (postgres.backup.enabled)" }}{{ end -}}
  {{- if .Values.postgres.nodePort }}{{ $problems = append $problems "region.role=witness has no Service for tools outside (postgres.nodePort)" }}{{ end -}}
  {{- if ne .Values.ingress.kind "none" }}{{ $problems = append $problems "region.role=witness serves nobody: ingress.kind must be none" }}{{ end -}}
{{- end -}}
{{- range $problems }}
  - {{ . }}
{{- end -}}
{{- end }}
