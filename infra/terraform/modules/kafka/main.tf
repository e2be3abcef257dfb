# What a region's Kafka needs around it. The brokers are Strimzi's, inside the cluster (docs/adr/0086): Kafka here is derived from the
# event store, a region's Kafka starts empty after a failover, and the same chart runs everywhere. So: volumes, and numbers that fit the zones.
terraform {
  required_version = ">= 1.11"
}

variable "zones" {
  type        = list(string)
  description = "Zones of the region."
}

variable "brokers" {
  type        = number
  description = "Brokers, spread over the zones."

  validation {
    condition     = var.brokers >= 3 && var.brokers % length(var.zones) == 0
    error_message = "brokers is a multiple of the zones, at least 3: each zone holds a copy of each partition."
  }
}

variable "volumes_key_arn" {
  type        = string
  description = "Customer key of the volumes."
}

variable "volume_gib" {
  type        = number
  description = "Size of one broker's volume."

  validation {
    condition     = var.volume_gib >= 20
    error_message = "A broker's volume has at least 20 GiB."
  }
}

output "storage_class" {
  description = "StorageClass for the cluster. Brokers' volumes may go with their claims: everything in them can be derived again."
  value = {
    apiVersion           = "storage.k8s.io/v1"
    kind                 = "StorageClass"
    metadata             = { name = "settlement-kafka" }
    provisioner          = "ebs.csi.aws.com"
    reclaimPolicy        = "Delete"
    volumeBindingMode    = "WaitForFirstConsumer"
    allowVolumeExpansion = true
    parameters           = { type = "gp3", encrypted = "true", kmsKeyId = var.volumes_key_arn }
  }
}

output "settings" {
  description = "Numbers for the chart: one copy a zone, and writes go on with one zone gone."
  value = {
    brokers             = var.brokers
    replication_factor  = 3
    min_insync_replicas = 2
    volume_gib          = var.volume_gib
  }
}
