kubernetes_version = "1.34"
relayer_lanes      = 6
nat                = "zone"

# Sizes are of one zone, so of a third of the region.
node_groups = {
  system   = { instance_types = ["m6i.large"], min = 1, max = 2, dedicated = false }
  services = { instance_types = ["m6i.xlarge"], min = 1, max = 6, dedicated = false }
  postgres = { instance_types = ["r6i.xlarge"], min = 1, max = 2, dedicated = false }
  kafka    = { instance_types = ["m6i.large"], min = 1, max = 2, dedicated = false }
}

postgres_instances   = 3
postgres_volume      = { size_gib = 500, iops = 12000, throughput = 500 }
recovery_window_days = 35
kafka                = { brokers = 3, volume_gib = 200 }

requests_per_ip    = 3000
log_retention_days = 365
api_client_cidrs   = ["10.60.0.0/24"] # the runners' and bastions' network
admin_role_arn     = "arn:aws:iam::111122223333:role/platform-admin"
deployer_role_arn  = "arn:aws:iam::111122223333:role/settlement-deployer"
alarm_emails       = ["platform@settlement.example"]
mirrored_images    = ["cloudnative-pg", "plugin-barman-cloud", "strimzi", "cert-manager", "external-secrets", "keda", "prometheus-operator", "prometheus", "aws-load-balancer-controller"]
