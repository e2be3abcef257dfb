# Which pod may do what with the provider. A role belongs to one service account of one cluster: the trust names both.
locals {
  accounts = merge({ for name, identity in var.identities : name => "${identity.namespace}/${identity.service_account}" }, { cni = "kube-system/aws-node", ebs = "kube-system/ebs-csi-controller-sa" })

  pod_trust = { for account in toset(values(local.accounts)) : account => jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "PodIdentity"
      Effect    = "Allow"
      Principal = { Service = "pods.eks.amazonaws.com" }
      Action    = ["sts:AssumeRole", "sts:TagSession"]
      Condition = {
        StringEquals = {
          "aws:SourceAccount"                         = var.account_id
          "aws:RequestTag/kubernetes-namespace"       = split("/", account)[0]
          "aws:RequestTag/kubernetes-service-account" = split("/", account)[1]
        }
        ArnEquals = { "aws:SourceArn" = "arn:aws:eks:${var.region.name}:${var.account_id}:cluster/${local.name}" }
      }
    }]
  }) }
}

resource "aws_iam_role" "pod" {
  for_each           = var.identities
  name               = "${var.prefix}-${var.region.name}-${each.key}"
  assume_role_policy = local.pod_trust["${each.value.namespace}/${each.value.service_account}"]
}

resource "aws_iam_role_policy" "pod" {
  for_each = var.identities
  name     = "allowed"
  role     = aws_iam_role.pod[each.key].name
  policy   = jsonencode({ Version = "2012-10-17", Statement = [for statement in each.value.statements : { for key, value in statement : key => value if value != null }] })
}

resource "aws_eks_pod_identity_association" "pod" {
  for_each        = var.identities
  cluster_name    = aws_eks_cluster.this.name
  namespace       = each.value.namespace
  service_account = each.value.service_account
  role_arn        = aws_iam_role.pod[each.key].arn
}
