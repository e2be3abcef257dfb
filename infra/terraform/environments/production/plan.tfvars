# All stacks of this environment are given this file. The account and the domain are examples: put yours here.
environment = "production"
account_id  = "111122223333"
domain      = "settlement.example"

regions = {
  primary = {
    name         = "eu-central-1"
    azs          = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
    vpc_cidr     = "10.64.0.0/16"
    pod_cidr     = "100.64.0.0/16"
    service_cidr = "10.67.0.0/20"
  }
  secondary = {
    name         = "eu-west-1"
    azs          = ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
    vpc_cidr     = "10.65.0.0/16"
    pod_cidr     = "100.65.0.0/16"
    service_cidr = "10.67.16.0/20"
  }
  # Votes on commits and on failovers; runs no services.
  witness = {
    name         = "eu-north-1"
    azs          = ["eu-north-1a", "eu-north-1b", "eu-north-1c"]
    vpc_cidr     = "10.66.0.0/16"
    pod_cidr     = "100.66.0.0/16"
    service_cidr = "10.67.32.0/20"
  }
}
