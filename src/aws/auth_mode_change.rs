//! The change of the authentication mode of a cluster, which takes EKS a few minutes.

use std::time::Instant;

use aws_sdk_eks::types::{AuthenticationMode, UpdateAccessConfigRequest, UpdateStatus};

use super::access_entries::AccessEntryApi;
use super::entry_errors::{EntryError, printable_code};
use super::errors::AwsError;
use super::pause::Pause;
use crate::state::auth_mode::ClusterAuthMode;

impl AccessEntryApi<'_> {
    /// Changes the authentication mode, and waits until EKS has made the change. It cannot be changed back.
    pub(crate) async fn change_auth_mode(&self, mode: &ClusterAuthMode) -> Result<(), AwsError> {
        const UPDATE: &str = "eks:UpdateClusterConfig";
        const DESCRIBE_UPDATE: &str = "eks:DescribeUpdate";
        let subject = self.subject();
        let config =
            UpdateAccessConfigRequest::builder().authentication_mode(AuthenticationMode::from(mode.as_str())).build();
        let request = self.client.update_cluster_config().name(&self.cluster).access_config(config);
        let answer = match self.call(UPDATE, &subject, || request.clone().send()).await {
            Ok(answer) => answer,
            // After an answer that was lost, EKS refuses the change to the mode that the cluster has by then.
            Err(failure) if self.current_auth_mode().await.ok().as_ref() == Some(mode) => {
                drop(failure);
                return Ok(());
            }
            Err(failure) => return Err(failure.error),
        };
        let invalid = || AwsError::InvalidResponse { action: UPDATE };
        let id = answer.update().and_then(|update| update.id()).ok_or_else(invalid)?.to_owned();
        let mut pause = Pause::new();
        let started = Instant::now();
        let not_changed = |status, codes| {
            let (cluster, mode) = (self.cluster.clone(), mode.clone());
            AwsError::from(EntryError::ModeNotChanged { cluster, mode, status, codes })
        };
        loop {
            let request = self.client.describe_update().name(&self.cluster).update_id(&id);
            let answer = self.call(DESCRIBE_UPDATE, &subject, || request.clone().send()).await;
            let answer = answer.map_err(|failure| failure.error)?;
            let update = answer.update().ok_or(AwsError::InvalidResponse { action: DESCRIBE_UPDATE })?;
            let status = match update.status() {
                Some(UpdateStatus::Successful) => break,
                Some(UpdateStatus::Failed) => Some("Failed"),
                Some(UpdateStatus::Cancelled) => Some("Cancelled"),
                _ => None,
            };
            if status.is_some() {
                let codes = update.errors().iter().filter_map(|error| printable_code(error.error_code()?.as_str()));
                return Err(not_changed(status, codes.collect()));
            }
            let delay = pause.next_delay();
            if started.elapsed() + delay > self.patience {
                return Err(not_changed(None, Vec::new()));
            }
            tokio::time::sleep(delay).await;
        }
        if self.current_auth_mode().await? == *mode { Ok(()) } else { Err(not_changed(None, Vec::new())) }
    }

    async fn current_auth_mode(&self) -> Result<ClusterAuthMode, AwsError> {
        Ok(self.session.describe_cluster(&self.cluster, None).await?.auth_mode)
    }
}
