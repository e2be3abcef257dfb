locals {
  # Every address that is not ours: what leaves for the internet may go there and nowhere inside.
  private = ["10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]

  internet = { ipBlock = { cidr = "0.0.0.0/0", except = local.private } }

  # Objects of different shapes cannot stand in one conditional, so the parts that a role lacks are left out here.
  chart = {
    # The chart knows production, staging and local; a drill is as strict as production and is called staging there.
    environment = var.environment == "production" ? "production" : "staging"
    region      = { name = local.region.name, role = local.serving ? "serving" : "witness", zones = local.region.azs }
    image       = { registry = "${var.account_id}.dkr.ecr.${local.region.name}.amazonaws.com" }
    services = {
      for service in ["gateway", "relayer", "paymaster", "batch-settlement", "compliance-screening"] : service => merge(
        { nodeSelector = { "settlement/purpose" = local.serving ? "services" : "system" } },
        service == "relayer" ? { lanes = var.relayer_lanes } : null,
      )
    }
    secrets = {
      mode            = "externalSecrets"
      externalSecrets = { prefix = "settlement/${var.environment}" }
    }
    postgres = {
      mode      = "cloudnativepg"
      ownImage  = true
      instances = local.serving ? var.postgres_instances : 1
      # A commit needs one of the two other regions; their names are what they call themselves when they follow.
      voters  = sort([for peer in local.peers : peer.name])
      storage = { size = "${var.postgres_volume.size_gib}Gi", storageClass = module.postgres.storage_class.metadata.name }
      # Its size is the environment's; without a class it would be of the cluster's default, which is under no key of ours.
      walStorage = { storageClass = module.postgres.storage_class.metadata.name }
      backup     = { enabled = local.serving, method = "plugin", objectStoreName = "settlement-postgres" }
    }
    kafka = {
      mode              = "strimzi"
      brokers           = try(module.kafka[0].settings.brokers, 3)
      replicationFactor = try(module.kafka[0].settings.replication_factor, 3)
      minInsyncReplicas = try(module.kafka[0].settings.min_insync_replicas, 2)
      storage           = { size = "${var.kafka.volume_gib}Gi", storageClass = try(module.kafka[0].storage_class.metadata.name, "settlement-kafka") }
    }
    # The edge's balancer stands before the gateway's pods themselves, see the bindings below.
    ingress = { kind = "none", host = local.serving ? module.plan.api_host : "", tlsSecretName = "", className = "" }
    networkPolicy = {
      # The edge asks the gateway's operational port for its readiness; the security groups let it ask nothing else.
      monitoringFrom = concat(
        [{ namespaceSelector = { matchLabels = { "kubernetes.io/metadata.name" = "monitoring" } } }],
        [for cidr in module.network.edge_cidrs : { ipBlock = { cidr = cidr } }],
      )
      chainEndpoints = local.serving ? [{ to = [local.internet], ports = [443] }] : []
      gatewayFrom    = [for cidr in module.network.edge_cidrs : { ipBlock = { cidr = cidr } }]
      postgresFrom   = [for cidr in module.network.node_cidrs : { ipBlock = { cidr = cidr } }] # the replication balancer's own addresses
      apiServer      = { cidrs = module.network.node_cidrs, ports = [443] }
      backups        = { to = [local.internet], ports = [443] }
    }
  }

  bindings = concat(
    [{ name = "settlement-postgres-replication", service = "settlement-postgres-rw", port = 5432, arn = module.postgres.target_group_arn }],
    flatten([for edge in module.edge : [
      { name = "settlement-gateway", service = "settlement-gateway", port = 8080, arn = edge.target_group_arns.api },
      { name = "settlement-gateway-readiness", service = "settlement-gateway", port = 9464, arn = edge.target_group_arns.ops },
    ]]),
  )
}

output "helm_values" {
  description = "Last values file of this region's release: helm upgrade --install settlement deploy/helm/settlement -f <environment> -f <this>."
  value       = yamlencode(local.chart)
}

output "manifests" {
  description = "What stands in the cluster before the chart: storage classes, where backups go, and which pods the balancers lead to. kubectl apply --server-side -f -"
  value = join("---\n", concat(
    [yamlencode(module.postgres.storage_class)],
    [for kafka in module.kafka : yamlencode(kafka.storage_class)],
    [for binding in local.bindings : yamlencode({
      apiVersion = "elbv2.k8s.aws/v1beta1"
      kind       = "TargetGroupBinding"
      metadata   = { name = binding.name, namespace = "settlement" }
      spec       = { targetGroupARN = binding.arn, targetType = "ip", serviceRef = { name = binding.service, port = binding.port } }
    })],
    module.postgres.backup == null ? [] : [yamlencode({
      apiVersion = "barmancloud.cnpg.io/v1"
      kind       = "ObjectStore"
      metadata   = { name = "settlement-postgres", namespace = "settlement" }
      spec = {
        configuration   = { destinationPath = module.postgres.backup.destination, s3Credentials = { inheritFromIAMRole = true }, wal = { compression = "gzip" } }
        retentionPolicy = module.postgres.backup.retention
      }
    })],
  ))
}

output "cluster" {
  description = "Name and private endpoint of the Kubernetes cluster."
  value       = { name = module.cluster.name, endpoint = module.cluster.endpoint }
}

output "postgres_hosts" {
  description = "How the regions' Postgres reach each other, by region."
  value       = { for region in module.plan.regions : region.name => region.postgres_host }
}

output "identities" {
  description = "Roles of pods."
  value       = module.cluster.role_arns
}

output "remote_write_url" {
  description = "Where this region's Prometheus writes."
  value       = module.observability.remote_write_url
}
