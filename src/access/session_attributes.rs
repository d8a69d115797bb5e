//! What is known of a session of a role.

use std::collections::BTreeSet;
use std::fmt;

/// What is known of a session. Everything that is `None` can have any value.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionAttributes {
    /// The name of the session. `{{SessionName}}` replaces `@` by `-`, so of the names that it renders alike this is the
    /// one without `@`.
    pub(crate) name: Option<String>,
    pub(crate) access_key_id: Option<String>,
    /// The private DNS name of the EC2 instance that opened the session.
    pub(crate) ec2_private_dns_name: Option<String>,
}

impl SessionAttributes {
    pub(crate) fn named(name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..Self::default() }
    }

    pub(crate) fn is_any(&self) -> bool {
        let Self { name, access_key_id, ec2_private_dns_name } = self;
        name.is_none() && access_key_id.is_none() && ec2_private_dns_name.is_none()
    }

    /// Returns the same session with another name that `{{SessionName}}` renders alike, and that is none of `names`.
    /// `{{SessionNameRaw}}` renders the two differently. `None` if there is no such name.
    pub(crate) fn with_other_raw_name(&self, names: &BTreeSet<String>) -> Option<Self> {
        let name = self.name.as_ref()?;
        let one_at = name.match_indices('-').map(|(at, _)| {
            let (head, tail) = (name.get(..at).unwrap_or_default(), name.get(at + 1..).unwrap_or_default());
            format!("{head}@{tail}")
        });
        let mut others = one_at.chain([name.replace('-', "@")]).filter(|other| other != name && !names.contains(other));
        others.next().map(|other| Self { name: Some(other), ..self.clone() })
    }
}

/// Formatted as ``sessions named `alice` ``.
impl fmt::Display for SessionAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, access_key_id, ec2_private_dns_name } = self;
        let mut conditions = Vec::new();
        conditions.extend(name.as_ref().map(|name| format!("named `{name}`")));
        conditions.extend(access_key_id.as_ref().map(|id| format!("with the access key `{id}`")));
        conditions.extend(ec2_private_dns_name.as_ref().map(|name| format!("of the EC2 instance `{name}`")));
        if conditions.is_empty() {
            return f.write_str("all sessions");
        }
        write!(f, "sessions {}", conditions.join(" "))
    }
}
