//! What EKS says about a cluster, as a snapshot keeps it.

/// Returns the document of a cluster in an authentication mode, with the start of the next document.
pub fn eks_document(mode: &str) -> String {
    format!(
        "apiVersion: rolecall/v1\nkind: EksCluster\narn: arn:aws:eks:eu-west-1:111122223333:cluster/prod\n\
         version: \"1.36\"\nauthentication-mode: {mode}\nnode-roles: []\n---"
    )
}
