# The region's modules by themselves: what no input can switch off. Planned against mocks.
mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  prefix = "settlement-test"
  region = {
    name            = "eu-central-1"
    role            = "primary"
    serving         = true
    azs             = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
    vpc_cidr        = "10.1.0.0/16"
    pod_cidr        = "10.2.0.0/16"
    service_cidr    = "10.3.0.0/20"
    internal_domain = "eu-central-1.test.internal"
    postgres_host   = "postgres.eu-central-1.test.internal"
  }
  node_subnets       = { eu-central-1a = "subnet-1", eu-central-1b = "subnet-2", eu-central-1c = "subnet-3" }
  pod_subnets        = { eu-central-1a = "subnet-4", eu-central-1b = "subnet-5", eu-central-1c = "subnet-6" }
  logs_key_arn       = "arn:aws:kms:eu-central-1:111122223333:key/mrk-a"
  volumes_key_arn    = "arn:aws:kms:eu-central-1:111122223333:key/mrk-b"
  log_retention_days = 30
  identities         = {}
  keys = {
    cluster = "arn:aws:kms:eu-central-1:111122223333:key/mrk-c"
    volumes = "arn:aws:kms:eu-central-1:111122223333:key/mrk-b"
    logs    = "arn:aws:kms:eu-central-1:111122223333:key/mrk-a"
  }
}

run "network" {
  command = plan
  module {
    source = "../../modules/network"
  }
  variables {
    nat = "zone"
  }

  assert {
    condition = alltrue(concat(
      [for s in aws_subnet.nodes : cidrsubnet(format("%s/16", split("/", s.cidr_block)[0]), 0, 0) == "10.1.0.0/16"],
      [for s in aws_subnet.edge : cidrsubnet(format("%s/16", split("/", s.cidr_block)[0]), 0, 0) == "10.1.0.0/16"],
      [for s in aws_subnet.pods : cidrsubnet(format("%s/16", split("/", s.cidr_block)[0]), 0, 0) == "10.2.0.0/16"],
    ))
    error_message = "Each subnet lies in its network."
  }

  # Nodes take 10.1.0.0 to 10.1.47.255 (three /20), the edge 10.1.240.0 to 10.1.242.255 (three /24).
  assert {
    condition     = [for s in aws_subnet.nodes : s.cidr_block] == ["10.1.0.0/20", "10.1.16.0/20", "10.1.32.0/20"] && [for s in aws_subnet.edge : s.cidr_block] == ["10.1.240.0/24", "10.1.241.0/24", "10.1.242.0/24"]
    error_message = "Nodes and edge have subnets of their own."
  }

  assert {
    condition     = [for s in aws_subnet.pods : s.cidr_block] == ["10.2.0.0/18", "10.2.64.0/18", "10.2.128.0/18"]
    error_message = "Pods have a quarter of their range in each zone."
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 3 && length(aws_route_table.private) == 3
    error_message = "Each zone goes out by itself."
  }

  assert {
    condition     = aws_flow_log.this.traffic_type == "ALL" && aws_cloudwatch_log_group.flows.kms_key_id == var.logs_key_arn
    error_message = "All flows are logged, under a customer key."
  }
}

run "network_of_a_witness" {
  command = plan
  module {
    source = "../../modules/network"
  }
  variables {
    nat    = "zone"
    region = merge(var.region, { role = "witness", serving = false })
  }

  assert {
    condition     = length(aws_internet_gateway.this) == 0 && length(aws_subnet.edge) == 0 && length(aws_nat_gateway.this) == 0 && length(aws_route.out) == 0
    error_message = "The witness has no way out and no way in but its peers."
  }
}

run "cluster" {
  command = plan
  module {
    source = "../../modules/cluster"
  }
  variables {
    account_id         = "111122223333"
    kubernetes_version = "1.34"
    idle               = false
    api_client_cidrs   = ["10.60.0.0/24"]
    admin_role_arn     = "arn:aws:iam::111122223333:role/admin"
    deployer_role_arn  = "arn:aws:iam::111122223333:role/deployer"
    node_groups = {
      system   = { instance_types = ["m6i.large"], min = 1, max = 2, dedicated = false }
      postgres = { instance_types = ["m6i.large"], min = 1, max = 2, dedicated = true }
    }
  }

  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].endpoint_private_access && !aws_eks_cluster.this.vpc_config[0].endpoint_public_access
    error_message = "The Kubernetes API is private."
  }

  assert {
    condition     = aws_eks_cluster.this.encryption_config[0].provider[0].key_arn == var.keys.cluster && contains(aws_eks_cluster.this.encryption_config[0].resources, "secrets")
    error_message = "Kubernetes secrets are under a customer key."
  }

  assert {
    condition     = length(aws_eks_cluster.this.enabled_cluster_log_types) == 5
    error_message = "All of the control plane's logs are kept."
  }

  assert {
    condition     = aws_launch_template.node.metadata_options[0].http_tokens == "required" && aws_launch_template.node.metadata_options[0].http_put_response_hop_limit == 1
    error_message = "Instance metadata is asked with a token (IMDSv2), and not from pods."
  }

  assert {
    condition     = alltrue([for device in aws_launch_template.node.block_device_mappings : device.ebs[0].encrypted == "true" && device.ebs[0].kms_key_id == var.keys.volumes])
    error_message = "Nodes' disks are under a customer key."
  }

  assert {
    condition     = length(aws_eks_node_group.this) == 6 && alltrue([for group in aws_eks_node_group.this : length(group.subnet_ids) == 1])
    error_message = "Each purpose has a group in each of three zones."
  }
}

run "idle_cluster" {
  command = plan
  module {
    source = "../../modules/cluster"
  }
  variables {
    account_id         = "111122223333"
    kubernetes_version = "1.35"
    idle               = true
    api_client_cidrs   = []
    admin_role_arn     = "arn:aws:iam::111122223333:role/admin"
    deployer_role_arn  = "arn:aws:iam::111122223333:role/deployer"
    node_groups = {
      system   = { instance_types = ["m6i.large"], min = 1, max = 2, dedicated = false }
      postgres = { instance_types = ["m6i.large"], min = 1, max = 2, dedicated = false }
    }
  }

  assert {
    condition     = sum([for group in aws_eks_node_group.this : group.scaling_config[0].min_size + group.scaling_config[0].desired_size]) == 0
    error_message = "An idle cluster has no nodes."
  }
}

run "postgres" {
  command = plan
  module {
    source = "../../modules/postgres"
  }
  variables {
    vpc_id                 = "vpc-1"
    subnets                = var.node_subnets
    internal_zone_id       = "Z1"
    node_security_group_id = "sg-1"
    peer_cidrs             = { secondary = ["10.4.0.0/16", "10.5.0.0/16"], witness = ["10.6.0.0/16", "10.7.0.0/16"] }
    backup_bucket          = "backups"
    recovery_window_days   = 35
    volume                 = { size_gib = 100, iops = 3000, throughput = 125 }
  }

  assert {
    condition     = aws_lb.replication.internal && aws_lb.replication.enable_deletion_protection
    error_message = "Replication comes in by a protected balancer that is not public."
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.peers : rule.cidr_ipv4]) == toset(["10.4.0.0/16", "10.5.0.0/16", "10.6.0.0/16", "10.7.0.0/16"]) && alltrue([for rule in aws_vpc_security_group_ingress_rule.peers : rule.from_port == 5432 && rule.to_port == 5432])
    error_message = "Only the other regions' nodes and pods reach Postgres, at 5432."
  }

  assert {
    condition     = output.storage_class.parameters.encrypted == "true" && output.storage_class.parameters.kmsKeyId == var.volumes_key_arn && output.storage_class.reclaimPolicy == "Retain"
    error_message = "Volumes are under a customer key and outlive their claims."
  }

  assert {
    condition     = output.backup.destination == "s3://backups/postgres" && output.backup.retention == "35d"
    error_message = "WAL and base backups are kept for the recovery window."
  }
}

run "edge" {
  command = plan
  module {
    source = "../../modules/edge"
  }
  variables {
    region_name            = "eu-central-1"
    vpc_id                 = "vpc-1"
    subnets                = ["subnet-7", "subnet-8", "subnet-9"]
    node_security_group_id = "sg-1"
    certificate_arn        = "arn:aws:acm:eu-central-1:111122223333:certificate/00000000-0000-0000-0000-000000000001"
    zone_id                = "Z1"
    host                   = "eu-central-1.edge.settlement.example"
    api_host               = "api.settlement.example"
    requests_per_ip        = 3000
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.https.from_port == 443 && aws_vpc_security_group_ingress_rule.https.to_port == 443
    error_message = "The internet reaches 443 and nothing else."
  }

  assert {
    condition     = aws_lb.edge.enable_deletion_protection && aws_lb.edge.drop_invalid_header_fields
    error_message = "The edge is protected."
  }

  assert {
    condition     = aws_lb_listener.https.protocol == "HTTPS" && startswith(aws_lb_listener.https.ssl_policy, "ELBSecurityPolicy-TLS13-1-2")
    error_message = "TLS 1.2 and later."
  }

  assert {
    condition     = aws_lb_target_group.gateway.health_check[0].path == "/health/ready"
    error_message = "Only ready gateways get requests: readiness includes the epoch."
  }

  assert {
    condition     = one(aws_lb_listener.https.default_action).type == "fixed-response"
    error_message = "Whoever asks for another name gets nothing."
  }
}

run "kafka" {
  command = plan
  module {
    source = "../../modules/kafka"
  }
  variables {
    zones      = ["a", "b", "c"]
    brokers    = 3
    volume_gib = 100
  }

  assert {
    condition     = output.settings.replication_factor == 3 && output.settings.min_insync_replicas == 2 && output.storage_class.parameters.kmsKeyId == var.volumes_key_arn
    error_message = "A copy in each zone, under a customer key; writes go on with one zone gone."
  }
}

run "registry" {
  command = plan
  module {
    source = "../../modules/registry"
  }
  variables {
    names       = ["settlement-gateway"]
    kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/mrk-i"
  }

  assert {
    condition     = alltrue([for r in aws_ecr_repository.this : r.image_tag_mutability == "IMMUTABLE" && r.encryption_configuration[0].kms_key == var.kms_key_arn && !r.force_delete])
    error_message = "A tag means one image for ever, under a customer key."
  }
}
