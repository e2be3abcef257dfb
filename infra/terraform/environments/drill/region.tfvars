kubernetes_version = "1.34"
relayer_lanes      = 2
nat                = "single" # a zone's loss is drilled in production's shape by the cluster tests, not here

node_groups = {
  system   = { instance_types = ["t3.large"], min = 1, max = 1, dedicated = false }
  services = { instance_types = ["t3.large"], min = 1, max = 2, dedicated = false }
  postgres = { instance_types = ["t3.large"], min = 1, max = 1, dedicated = false }
  kafka    = { instance_types = ["t3.large"], min = 1, max = 1, dedicated = false }
}

postgres_instances   = 3
postgres_volume      = { size_gib = 20, iops = 3000, throughput = 125 }
recovery_window_days = 7
kafka                = { brokers = 3, volume_gib = 20 }

requests_per_ip    = 100000 # a drill's load comes from one machine
log_retention_days = 7
api_client_cidrs   = ["10.60.0.0/24"]
admin_role_arn     = "arn:aws:iam::444455556666:role/platform-admin"
deployer_role_arn  = "arn:aws:iam::444455556666:role/settlement-deployer"
alarm_emails       = ["platform@settlement.example"]
mirrored_images    = ["cloudnative-pg", "plugin-barman-cloud", "strimzi", "cert-manager", "external-secrets", "keda", "prometheus-operator", "prometheus", "aws-load-balancer-controller"]
