# All stacks of this environment are given this file. The account and the domain are examples: put yours here.
environment = "drill"
account_id  = "444455556666"
domain      = "drill.settlement.example"

regions = {
  primary = {
    name         = "eu-central-1"
    azs          = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
    vpc_cidr     = "10.96.0.0/16"
    pod_cidr     = "100.96.0.0/16"
    service_cidr = "10.99.0.0/20"
  }
  secondary = {
    name         = "eu-west-1"
    azs          = ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
    vpc_cidr     = "10.97.0.0/16"
    pod_cidr     = "100.97.0.0/16"
    service_cidr = "10.99.16.0/20"
  }
  # Votes on commits and on failovers; runs no services.
  witness = {
    name         = "eu-north-1"
    azs          = ["eu-north-1a", "eu-north-1b", "eu-north-1c"]
    vpc_cidr     = "10.98.0.0/16"
    pod_cidr     = "100.98.0.0/16"
    service_cidr = "10.99.32.0/20"
  }
}
