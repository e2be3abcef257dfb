{{/* Restricted Pod Security, for the pod. */}}
{{- define "settlement.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Restricted Pod Security, for a container; nothing is written but to mounted volumes. */}}
{{- define "settlement.containerSecurityContext" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* What every pod of the services has in common, serving or migrating; {root, service}. */}}
{{- define "settlement.podBasics" -}}
serviceAccountName: {{ include "settlement.name" . }}
automountServiceAccountToken: false
# A DNS server that goes away with its node costs a second and not five, and names outside the cluster are asked for as they
# are: with the usual five dots each would be tried in every search domain first.
dnsConfig:
  options:
    - {name: timeout, value: "1"}
    - {name: attempts, value: "4"}
    - {name: ndots, value: "2"}
# Addresses come from DNS; forty variables of every Service in the namespace are only noise and may collide with ours.
enableServiceLinks: false
securityContext:
  {{- include "settlement.podSecurityContext" . | nindent 2 }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with include "settlement.priorityClass" (dict "root" .root "kind" "service") }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* Requests and a memory limit; {cpu, memoryMiB}. No CPU limit: see values.yaml. */}}
{{- define "settlement.resources" -}}
requests:
  cpu: {{ .cpu | quote }}
  memory: {{ .memoryMiB.request }}Mi
limits:
  memory: {{ .memoryMiB.limit }}Mi
{{- end }}

{{/*
NODE_OPTIONS for a container with so many MiB. Old space is 65 % of the limit: when V8 reaches it, it collects and at last
stops with a stack, instead of being killed by the kernel without a word. Replaces the image's own value, hence its flags.
*/}}
{{- define "settlement.nodeOptions" -}}
--enable-source-maps --disable-warning=TimeoutNegativeWarning --max-old-space-size={{ div (mul .memoryMiB.limit 65) 100 }}
{{- end }}

{{/* Seconds from the decision to stop a pod to SIGKILL: preStop, linger, drain, margin; {root, settings}. */}}
{{- define "settlement.gracePeriodSeconds" -}}
{{- add .root.Values.common.preStopSeconds .root.Values.common.lingerSeconds (div (add .settings.shutdownTimeoutMs 999) 1000) .root.Values.common.graceMarginSeconds -}}
{{- end }}

{{/*
Spread over zones and hosts; {root, component}. Only pods of one revision are counted, so that a rollout may finish. Nodes that
are tainted (lost, cordoned for a drain) are not: else an empty node or zone that nobody can use would keep replacements pending.
*/}}
{{- define "settlement.topologySpread" -}}
{{- $spread := .root.Values.scheduling.topologySpread -}}
{{- range $key, $rule := dict "topology.kubernetes.io/zone" $spread.zone "kubernetes.io/hostname" $spread.host }}
- topologyKey: {{ $key }}
  maxSkew: {{ $rule.maxSkew }}
  whenUnsatisfiable: {{ $rule.whenUnsatisfiable }}
  nodeTaintsPolicy: Honor
  labelSelector:
    matchLabels:
      {{- include "settlement.selectorLabels" $ | nindent 6 }}
  matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}

{{/* Zones that a pod may run in; {root}. */}}
{{- define "settlement.zoneAffinity" -}}
{{- with .root.Values.region.zones }}
nodeAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    nodeSelectorTerms:
      - matchExpressions:
          - {key: topology.kubernetes.io/zone, operator: In, values: {{ toJson . }}}
{{- end }}
{{- end }}

{{- define "settlement.tolerations" -}}
{{- $seconds := .root.Values.scheduling.nodeFailureTolerationSeconds -}}
- {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: {{ $seconds }}}
- {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: {{ $seconds }}}
{{- with .root.Values.scheduling.tolerations }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Files that a service reads: certificates as whole directories, so that a renewal is seen without a restart. {root, service, definition, migrating} */}}
{{- define "settlement.volumeMounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if include "settlement.postgresCaSecret" .root }}
- {name: database-ca, mountPath: /etc/settlement/database, readOnly: true}
{{- end }}
{{- if not .migrating }}
{{- if ne .root.Values.tls.mode "none" }}
- {name: tls, mountPath: /etc/settlement/tls, readOnly: true}
{{- end }}
{{- if .root.Values.kafka.tls }}
- {name: kafka-ca, mountPath: /etc/settlement/kafka/ca, readOnly: true}
- {name: kafka-user, mountPath: /etc/settlement/kafka/user, readOnly: true}
{{- end }}
{{- if .definition.lists }}
- {name: lists, mountPath: /etc/settlement/lists, readOnly: true}
{{- end }}
{{- end }}
{{- end }}

{{- define "settlement.volumes" -}}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 16Mi}
{{- with include "settlement.postgresCaSecret" .root }}
# Only the certificate: the operator's secret has the authority's key as well.
- name: database-ca
  secret: {secretName: {{ . }}, items: [{key: ca.crt, path: ca.crt}], defaultMode: 0440}
{{- end }}
{{- if not .migrating }}
{{- if ne .root.Values.tls.mode "none" }}
- name: tls
  secret: {secretName: {{ include "settlement.name" . }}-tls, defaultMode: 0440}
{{- end }}
{{- if .root.Values.kafka.tls }}
- name: kafka-ca
  secret: {secretName: {{ include "settlement.kafkaCaSecret" .root }}, items: [{key: ca.crt, path: ca.crt}], defaultMode: 0440}
- name: kafka-user
  secret: {secretName: {{ include "settlement.kafkaName" .root }}-{{ .service }}, defaultMode: 0440}
{{- end }}
{{- if .definition.lists }}
{{- include "settlement.listsVolume" .root | nindent 0 }}
{{- end }}
{{- end }}
{{- end }}

{{/* The watch lists' folder: <list id>/<file>. */}}
{{- define "settlement.listsVolume" -}}
{{- $lists := .Values.screening.lists -}}
- name: lists
{{- if eq $lists.kind "persistentVolumeClaim" }}
  persistentVolumeClaim: {claimName: {{ $lists.name }}, readOnly: true}
{{- else }}
  configMap:
    name: {{ if eq $lists.kind "inline" }}{{ .Release.Name }}-lists{{ else }}{{ $lists.name }}{{ end }}
    items:
      {{- if eq $lists.kind "inline" }}
      {{- range $list, $files := $lists.inline }}
      {{- range $file, $text := $files }}
      - {key: {{ printf "%s.%s" $list $file }}, path: {{ printf "%s/%s" $list $file }}}
      {{- end }}
      {{- end }}
      {{- else }}
      {{- range $list, $files := $lists.items }}
      {{- range $file, $key := $files }}
      - {key: {{ $key }}, path: {{ printf "%s/%s" $list $file }}}
      {{- end }}
      {{- end }}
      {{- end }}
{{- end }}
{{- end }}
