# What is refused before anything is planned. Each line of the plan's and the modules' validations has a violation here.
mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  good = {
    primary   = { name = "eu-central-1", azs = ["eu-central-1a", "eu-central-1b", "eu-central-1c"], vpc_cidr = "10.1.0.0/16", pod_cidr = "10.2.0.0/16", service_cidr = "10.9.0.0/20" }
    secondary = { name = "eu-west-1", azs = ["eu-west-1a", "eu-west-1b", "eu-west-1c"], vpc_cidr = "10.3.0.0/16", pod_cidr = "10.4.0.0/16", service_cidr = "10.9.16.0/20" }
    witness   = { name = "eu-north-1", azs = ["eu-north-1a", "eu-north-1b", "eu-north-1c"], vpc_cidr = "10.5.0.0/16", pod_cidr = "10.6.0.0/16", service_cidr = "10.9.32.0/20" }
  }
}

run "good_plan" {
  command = plan
  module {
    source = "../../modules/plan"
  }
  variables {
    regions = var.good
  }

  assert {
    condition     = output.regions.secondary.serving && !output.regions.witness.serving
    error_message = "Primary and secondary serve, the witness does not."
  }
}

run "two_regions_only" {
  command = plan
  module {
    source = "../../modules/plan"
  }
  variables {
    regions = { for role, region in var.good : role => region if role != "witness" }
  }
  expect_failures = [var.regions]
}

run "two_roles_in_one_region" {
  command = plan
  module {
    source = "../../modules/plan"
  }
  variables {
    regions = merge(var.good, { witness = merge(var.good.witness, { name = "eu-west-1", azs = var.good.secondary.azs }) })
  }
  expect_failures = [var.regions]
}

run "zone_of_another_region" {
  command = plan
  module {
    source = "../../modules/plan"
  }
  variables {
    regions = merge(var.good, { witness = merge(var.good.witness, { azs = ["eu-north-1a", "eu-north-1b", "eu-west-1c"] }) })
  }
  expect_failures = [var.regions]
}

run "two_zones" {
  command = plan
  module {
    source = "../../modules/plan"
  }
  variables {
    regions = merge(var.good, { primary = merge(var.good.primary, { azs = ["eu-central-1a", "eu-central-1b", "eu-central-1b"] }) })
  }
  expect_failures = [var.regions]
}

run "networks_overlap" {
  command = plan
  module {
    source = "../../modules/plan"
  }
  variables {
    regions = merge(var.good, { secondary = merge(var.good.secondary, { vpc_cidr = "10.1.0.0/16" }) })
  }
  expect_failures = [var.regions]
}

run "pods_overlap_a_neighbours_nodes" {
  command = plan
  module {
    source = "../../modules/plan"
  }
  variables {
    regions = merge(var.good, { witness = merge(var.good.witness, { pod_cidr = "10.3.0.0/16" }) })
  }
  expect_failures = [var.regions]
}

# A smaller range inside a larger one: equality of the ranges alone would miss it.
run "services_inside_a_neighbours_pods" {
  command = plan
  module {
    source = "../../modules/plan"
  }
  variables {
    regions = merge(var.good, { primary = merge(var.good.primary, { service_cidr = "10.4.16.0/20" }) })
  }
  expect_failures = [var.regions]
}

run "public_addresses" {
  command = plan
  module {
    source = "../../modules/plan"
  }
  variables {
    regions = merge(var.good, { primary = merge(var.good.primary, { vpc_cidr = "52.1.0.0/16" }) })
  }
  expect_failures = [var.regions]
}

run "network_not_at_its_first_address" {
  command = plan
  module {
    source = "../../modules/plan"
  }
  variables {
    regions = merge(var.good, { primary = merge(var.good.primary, { vpc_cidr = "10.1.5.0/16" }) })
  }
  expect_failures = [var.regions]
}

run "unknown_environment" {
  command = plan
  module {
    source = "../../modules/plan"
  }
  variables {
    regions     = var.good
    environment = "staging"
  }
  expect_failures = [var.environment]
}

run "no_account" {
  command = plan
  module {
    source = "../../modules/plan"
  }
  variables {
    regions    = var.good
    account_id = "12345"
  }
  expect_failures = [var.account_id]
}

run "old_kubernetes_open_api_and_a_pipeline_that_administers" {
  command = plan
  module {
    source = "../../modules/cluster"
  }
  variables {
    prefix             = "settlement-test"
    region             = merge(var.good.primary, { role = "primary" })
    node_subnets       = { eu-central-1a = "subnet-1", eu-central-1b = "subnet-2" }
    pod_subnets        = {}
    node_groups        = { services = { instance_types = ["m6i.large"], min = 0, max = 2, dedicated = false } }
    idle               = false
    kubernetes_version = "1.33"
    api_client_cidrs   = ["0.0.0.0/0"]
    admin_role_arn     = "arn:aws:iam::111122223333:role/admin"
    deployer_role_arn  = "arn:aws:iam::111122223333:role/admin"
    keys               = { cluster = "arn:aws:kms:eu-central-1:111122223333:key/mrk-a", volumes = "arn:aws:kms:eu-central-1:111122223333:key/mrk-a", logs = "arn:aws:kms:eu-central-1:111122223333:key/mrk-a" }
    identities         = {}
  }
  expect_failures = [var.kubernetes_version, var.api_client_cidrs, var.deployer_role_arn, var.node_groups, var.node_subnets]
}

run "postgres_open_to_all_without_archive" {
  command = plan
  module {
    source = "../../modules/postgres"
  }
  variables {
    prefix                 = "settlement-test"
    region                 = { name = "eu-central-1", role = "primary", serving = true, postgres_host = "postgres.test" }
    vpc_id                 = "vpc-1"
    subnets                = { a = "subnet-1", b = "subnet-2", c = "subnet-3" }
    internal_zone_id       = "Z1"
    node_security_group_id = "sg-1"
    peer_cidrs             = { secondary = ["0.0.0.0/0"], witness = ["10.5.0.0/16"] }
    volumes_key_arn        = "k"
    recovery_window_days   = 1
    volume                 = { size_gib = 100, iops = 100, throughput = 125 }
  }
  expect_failures = [var.peer_cidrs, var.backup_bucket, var.recovery_window_days, var.volume]
}

run "four_brokers_in_three_zones" {
  command = plan
  module {
    source = "../../modules/kafka"
  }
  variables {
    zones           = ["a", "b", "c"]
    brokers         = 4
    volume_gib      = 100
    volumes_key_arn = "k"
  }
  expect_failures = [var.brokers]
}

# Of the stack itself, with production's values.
run "idle_production_with_one_way_out_and_a_short_memory" {
  command = plan
  variables {
    environment          = "production"
    role                 = "primary"
    idle                 = true
    nat                  = "single"
    recovery_window_days = 7
    postgres_instances   = 1
  }
  expect_failures = [var.idle, var.nat, var.recovery_window_days, var.postgres_instances]
}

run "unknown_role" {
  command = plan
  variables {
    role = "tertiary"
  }
  expect_failures = [var.role]
}
