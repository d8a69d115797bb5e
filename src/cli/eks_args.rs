//! The flags that select an EKS cluster by its name.

use std::path::PathBuf;

use clap::Args;

use super::args::OutputFormat;
use super::help;
use crate::aws::{AwsSettings, ProfileSelection};
use crate::cluster::kubeconfig::EksTarget;
use crate::diagnostic::Diagnostic;
use crate::names::{AccountId, is_eks_cluster_name, is_region};
use crate::ops::CommandError;

/// An EKS cluster, and the AWS credentials for it.
#[derive(Debug, Args)]
pub(crate) struct EksArgs {
    /// EKS cluster to use instead of another connection, by its name or ARN. Needs AWS credentials and no kubeconfig
    #[arg(long, value_name = "NAME", conflicts_with = "context")]
    pub(crate) eks: Option<String>,
    /// AWS region of the EKS cluster [default: that of the AWS configuration]
    #[arg(long, value_name = "REGION", requires = "eks", value_parser = parse_region)]
    pub(crate) region: Option<String>,
    /// Profile of the AWS configuration files [default: the credentials of the environment, or $AWS_PROFILE]
    #[arg(long, value_name = "PROFILE", requires = "eks")]
    pub(crate) profile: Option<String>,
    /// Run `aws eks get-token` or `aws-iam-authenticator` of the kubeconfig, instead of making the token in rolecall
    #[arg(long)]
    pub(crate) use_exec_plugin: bool,
}

/// List the EKS clusters of an AWS account, and which of them are in the policy
///
/// Asks AWS for the clusters in each region, and with each profile and role, of the policy's EKS clusters. Without a policy,
/// those of the AWS configuration. Requires the action eks:ListClusters.
#[derive(Debug, Args)]
#[command(after_help = help::CLUSTERS)]
pub(crate) struct ClustersArgs {
    /// Policy that names clusters [default: ./rolecall.toml or ./rolecall/, if it exists]
    #[arg(value_name = "POLICY", env = "ROLECALL_POLICY")]
    pub(crate) policy: Option<PathBuf>,
    /// Only this AWS region
    #[arg(long, value_name = "REGION", value_parser = parse_region)]
    pub(crate) region: Option<String>,
    /// Profile of the AWS configuration files [default: those of the policy, or the credentials of the environment]
    #[arg(long, value_name = "PROFILE")]
    pub(crate) profile: Option<String>,
    /// Output format
    #[arg(short = 'o', long = "output", alias = "format", value_enum, default_value_t, env = "ROLECALL_OUTPUT")]
    pub(crate) format: OutputFormat,
}

fn parse_region(text: &str) -> Result<String, String> {
    if is_region(text) { Ok(text.to_owned()) } else { Err("expected an AWS region, such as eu-west-1".to_owned()) }
}

impl EksArgs {
    /// Returns the cluster that the flags select.
    ///
    /// # Errors
    /// If the name is neither that of a cluster nor its ARN, or the ARN is of another region.
    pub(crate) fn target(&self) -> Result<Option<EksTarget>, CommandError> {
        let Some(text) = &self.eks else {
            return Ok(None);
        };
        let error = |message: String| CommandError::from_diagnostic(Diagnostic::error(message));
        let profile = self.profile.clone().map(ProfileSelection::Explicit);
        let settings = |region: Option<&str>| AwsSettings { profile, region: region.map(str::to_owned), role: None };
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let &["arn", _, "eks", region, account, resource] = parts.as_slice() else {
            if !is_eks_cluster_name(text) {
                return Err(error(format!(
                    "invalid value `{text}` for `--eks`: not the name or ARN of an EKS cluster"
                )));
            }
            return Ok(Some(EksTarget {
                name: text.clone(),
                account: None,
                aws: settings(self.region.as_deref()),
                known_region: None,
            }));
        };
        let name = resource.strip_prefix("cluster/").filter(|name| is_eks_cluster_name(name));
        let Some(name) = name.filter(|_| is_region(region) && AccountId::parse(account).is_some()) else {
            return Err(error(format!("invalid value `{text}` for `--eks`: not the ARN of an EKS cluster")));
        };
        if let Some(other) = self.region.as_ref().filter(|other| *other != region) {
            return Err(error(format!("`--region {other}` is not the region of the ARN, which is {region}")));
        }
        Ok(Some(EksTarget {
            name: name.to_owned(),
            account: Some(account.to_owned()),
            aws: settings(Some(region)),
            known_region: None,
        }))
    }
}
