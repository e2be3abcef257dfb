# The network first: without it no node becomes ready. The versions are the cluster version's defaults unless they are given.
resource "aws_eks_addon" "before_nodes" {
  for_each = {
    "vpc-cni" = jsonencode({
      enableNetworkPolicy = "true" # the chart's policies are enforced by the same plugin
      env = {
        AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG = "true"
        ENABLE_PREFIX_DELEGATION           = "true"
        ENI_CONFIG_LABEL_DEF               = "topology.kubernetes.io/zone"
      }
      eniConfig = {
        create  = true
        region  = var.region.name
        subnets = { for zone, subnet in var.pod_subnets : zone => { id = subnet, securityGroups = [aws_eks_cluster.this.vpc_config[0].cluster_security_group_id] } }
      }
    })
    "kube-proxy"             = null
    "eks-pod-identity-agent" = null
  }

  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  addon_version               = try(var.addon_versions[each.key], null)
  configuration_values        = each.value
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"

  dynamic "pod_identity_association" {
    for_each = each.key == "vpc-cni" ? [1] : []
    content {
      role_arn        = aws_iam_role.addon["cni"].arn
      service_account = "aws-node"
    }
  }

  depends_on = [aws_iam_role_policy_attachment.addon]
}

resource "aws_eks_addon" "after_nodes" {
  for_each = toset(["coredns", "aws-ebs-csi-driver", "metrics-server", "snapshot-controller"])

  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  addon_version               = try(var.addon_versions[each.key], null)
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"

  dynamic "pod_identity_association" {
    for_each = each.key == "aws-ebs-csi-driver" ? [1] : []
    content {
      role_arn        = aws_iam_role.addon["ebs"].arn
      service_account = "ebs-csi-controller-sa"
    }
  }

  depends_on = [aws_eks_node_group.this, aws_iam_role_policy.ebs_key]
}

resource "aws_iam_role" "addon" {
  for_each           = { cni = "aws-node", ebs = "ebs-csi-controller-sa" }
  name               = "${local.name}-${each.key}"
  assume_role_policy = local.pod_trust["kube-system/${each.value}"]
}

resource "aws_iam_role_policy_attachment" "addon" {
  for_each   = { cni = "AmazonEKS_CNI_Policy", ebs = "service-role/AmazonEBSCSIDriverPolicy" }
  role       = aws_iam_role.addon[each.key].name
  policy_arn = "arn:aws:iam::aws:policy/${each.value}"
}

resource "aws_iam_role_policy" "ebs_key" {
  name = "volumes-key"
  role = aws_iam_role.addon["ebs"].name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Sid = "UseVolumesKey", Effect = "Allow", Action = ["kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext", "kms:DescribeKey", "kms:ReEncryptFrom", "kms:ReEncryptTo"], Resource = var.keys.volumes },
      {
        Sid       = "GrantVolumesKey"
        Effect    = "Allow"
        Action    = ["kms:CreateGrant"]
        Resource  = var.keys.volumes
        Condition = { Bool = { "kms:GrantIsForAWSResource" = "true" } }
      },
    ]
  })
}
