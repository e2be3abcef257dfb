{{/* Not empty where the kinds of monitoring.coreos.com may be rendered. */}}
{{- define "settlement.monitoring" -}}
{{- if and .Values.monitoring.enabled (or .Values.monitoring.withoutCapabilities (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) -}}true{{- end -}}
{{- end }}
