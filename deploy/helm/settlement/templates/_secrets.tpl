{{/* Variables that a service's Secret must hold, as a JSON list in an object; {root, definition}. */}}
{{- define "settlement.requiredSecretKeys" -}}
{{- $keys := .definition.secretKeys -}}
{{- if and .definition.chain (not .root.Values.chains) -}}{{- $keys = append $keys "CHAINS" -}}{{- end -}}
{{- toJson (dict "keys" $keys) -}}
{{- end }}

{{/* Not empty where the service cannot start without its Secret. */}}
{{- define "settlement.ownSecrets" -}}
{{- if (include "settlement.requiredSecretKeys" . | fromJson).keys -}}true{{- end -}}
{{- end }}
