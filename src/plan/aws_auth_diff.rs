//! The change to the text of aws-auth as a unified diff, for reviewers who want to see the bytes that are written.

use std::collections::BTreeSet;

use similar::{Algorithm, TextDiff};

use crate::state::State;

/// Returns the lines of the diff. Empty: the text stays as it is.
pub(crate) fn aws_auth_diff(live: &State, after: &State) -> Vec<String> {
    let keys = |state: &'_ State| -> BTreeSet<String> {
        state.aws_auth.iter().flat_map(|aws_auth| aws_auth.data.keys().cloned()).collect()
    };
    let mut lines = Vec::new();
    for key in &keys(live) | &keys(after) {
        let text = |state: &'_ State| -> String {
            state.aws_auth.as_ref().and_then(|aws_auth| aws_auth.data.get(&key)).cloned().unwrap_or_default()
        };
        let (before, after) = (text(live), text(after));
        if before == after {
            continue;
        }
        let name = format!("aws-auth {key}");
        // Entries differ in their ARNs, so most lines are unique, which is what this algorithm is fast for.
        let diff = TextDiff::configure().algorithm(Algorithm::Patience).diff_lines(&before, &after);
        let text = diff.unified_diff().header(&name, &name).to_string();
        lines.extend(text.lines().map(str::to_owned));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::names::ObjectKey;

    fn state(data: &serde_json::Value) -> State {
        let mut state = State::default();
        let object = json!({ "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "aws-auth", "namespace": "kube-system" }, "data": data });
        state.insert_object(&ObjectKey::aws_auth(), &object).unwrap();
        state
    }

    #[test]
    fn each_changed_key_has_its_hunks() {
        let live = state(&json!({ "mapRoles": "- a\n# why\n- b\n", "mapUsers": "- u\n", "other": "x" }));
        let after = state(&json!({ "mapRoles": "- a\n# why\n- b\n- c\n", "other": "x" }));
        assert!(aws_auth_diff(&live, &live).is_empty());
        insta::assert_snapshot!(aws_auth_diff(&live, &after).join("\n"), @r"
        --- aws-auth mapRoles
        +++ aws-auth mapRoles
        @@ -1,3 +1,4 @@
         - a
         # why
         - b
        +- c
        --- aws-auth mapUsers
        +++ aws-auth mapUsers
        @@ -1 +0,0 @@
        -- u
        ");
    }
}
