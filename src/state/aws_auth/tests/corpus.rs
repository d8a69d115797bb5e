//! Texts of aws-auth sections: known edge cases, and any number of generated and mutated texts from a seed. They are plain
//! strings, so that other tests can pass them to a real authenticator.

/// A small generator of reproducible random numbers (`SplitMix64`).
pub(crate) struct TestRng(u64);

impl TestRng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn next_below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.next_below(n) == 0
    }

    pub(crate) fn pick<'p, T: ?Sized>(&mut self, choices: &[&'p T]) -> &'p T {
        choices[self.next_below(choices.len())]
    }
}

/// Scalars in many spellings, valid and invalid.
pub(crate) const SCALARS: &[&str] = &[
    "a",
    "admin",
    "system:masters",
    "system:node:{{EC2PrivateDNSName}}",
    "{{SessionName}}",
    "\"{{SessionName}}\"",
    "'it''s'",
    "'a'",
    "\"a\"",
    "\"\"",
    "''",
    "",
    "~",
    "null",
    "Null",
    "y",
    "n",
    "Y",
    "N",
    "yes",
    "Yes",
    "YES",
    "no",
    "on",
    "Off",
    "true",
    "True",
    "TRUE",
    "tRue",
    "false",
    "0",
    "-0",
    "017",
    "08",
    "0o17",
    "0b11",
    "0b102",
    "0b-11",
    "0x1F",
    "0x",
    "1_000",
    "_1",
    "1__0",
    "-1",
    "+1",
    ".5",
    ".5_0",
    "._5",
    "5.",
    "1e3",
    "1e999",
    "-1e3",
    "1.5e+3",
    ".e1",
    ".",
    "..",
    "...",
    "111122223333",
    "012345678901",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    ".inf",
    "-.inf",
    "+.INF",
    ".nan",
    ".NaN",
    "NaN",
    "2020-01-01",
    "2020-01-01T00:00:00Z",
    "12:30:45",
    "1.2.3",
    "=",
    "<<",
    "a:b",
    ":x",
    "-x",
    "a#b",
    "a #b",
    "#a",
    "!x",
    "!x y",
    "&x",
    "&x y",
    "*x",
    "a: b",
    "a:",
    "@a",
    "%a",
    "`a",
    "'x",
    "\"x",
    "[a]b",
    "[a]",
    "[]",
    "{}",
    "{a: b}",
    "[a: b]",
    "[? a]",
    "{a}",
    "{a:b}",
    "{\"a\":b}",
    "!!str 12",
    "!!int 12",
    "!!int x",
    "!!float 1",
    "!!bool yes",
    "!!null ~",
    "!!null x",
    "!!timestamp 2020-01-01",
    "!!timestamp x",
    "!!binary aGk=",
    "!!binary /w==",
    "!!binary a",
    "!<tag:yaml.org,2002:str> 1",
    "! 12",
    "!e!x 1",
    "!!set {a}",
    "\"\\x41\"",
    "\"\\u00e9\"",
    "\"\\/\"",
    "\"\\'\"",
    "\"\\ud83d\"",
    "\"\\q\"",
    "\"\\U0001F600\"",
    "\"a\\\n  b\"",
    "\"a\n  b\"",
    "'a\n\n  b'",
    "a\n  b",
    "|\n  a",
    "|-\n    a",
    ">\n  a\n  b",
    "|+\n  a\n\n",
    "|2\n  a",
    "|9\n a",
    "|0\n a",
    ">- # c\n    a b\n     c",
    "é",
    "😀",
    "\u{85}",
    "a\u{85}b",
    "a\u{2028}b",
    "\u{a0}",
    "\u{feff}",
    "\t",
    "a\tb",
    "a\t",
    "\ta",
    "? a",
    "- a",
    "- - a",
    "-",
    "?",
    ":",
    ",",
    "a, b",
    "a ,b",
    "--- a",
    "---",
    "--- [a]",
    "arn:aws:iam::111122223333:role/x",
    "arn:aws:iam::111122223333:user/team/bob",
    " lead",
    "trail ",
    "a  b",
    "\u{fffd}",
    "\u{1}",
    "\u{7f}",
];

/// Keys in many spellings.
pub(crate) const KEYS: &[&str] = &[
    "rolearn",
    "userarn",
    "username",
    "groups",
    "userid",
    "sso",
    "roleARN",
    "RoLeArN",
    "userARN",
    "Username",
    "USERNAME",
    "Groups",
    "GROUPS",
    "group\u{17f}",
    "u\u{17f}ername",
    "\"groups\"",
    "'username'",
    "? username\n ",
    "<<",
    "note",
    "yes",
    "1",
    "1.5",
    "~",
    "[a]",
    "SSO",
    "!!str groups",
    "&k rolearn",
    "*k",
    "\"rolearn\"",
    "permissionSetName",
    "accountID",
    "partition",
];

/// Texts of mapRoles: the cases of the specification, and layouts that editors and tools produce.
pub(crate) const ROLES: &[&str] = &[
    "- rolearn: arn:aws:iam::1:role/a\n  username: a\n  groups:\n  - g\n  - h\n",
    "- rolearn: a\n  groups: admins\n",
    "- rolearn: a\n  groups: [g, 1, true, null, h]\n",
    "- groups:\n  - system:bootstrappers\n  - system:nodes\n  rolearn: arn:aws:iam::1:role/n\n  username: system:node:{{EC2PrivateDNSName}}\n",
    "- {rolearn: a, username: system:node:{{X}}}\n",
    "- rolearn: a\n  username: {{SessionName}}\n",
    "- rolearn: a\n  groups:\n    - system:bootstrappers\n     - system:nodes\n",
    "[]",
    "null",
    "~",
    "---",
    "# c\n",
    "\"\"",
    "``",
    "''",
    "",
    "  \n",
    "x",
    "a: b",
    "- ~\n- foo\n- rolearn: 123\n- rolearn: b\n",
    "- Groups: [a, b]\n  groups: [~]\n  rolearn: a\n",
    "- GROUPS: [a, b]\n  Groups: [x]\n  groups: [x, ~]\n  rolearn: a\n",
    "- rolearn: a\n  Username: upper\n  username: lower\n",
    "- roleARN: a\n  rolearn: 12\n  username: x\n",
    "- rolearn: a\n  rolearn: b\n  username: x\n  username: 0123\n",
    "[{\"rolearn\": \"a\", \"username\": \"u\", \"groups\": [\"g\"]}, {\"rolearn\": \"b\"}]",
    "[\n  {\n    \"rolearn\": \"a\",\n    \"groups\": [\n      \"g\",\n      \"h\"\n    ]\n  },\n  {\n    \"rolearn\": \"b\"\n  }\n]\n",
    "- {rolearn: a, username: u, groups: [g, h]}\n- {rolearn: b}\n",
    "- &a\n  rolearn: a\n  username: u\n  groups: &g [x, y]\n- <<: *a\n  rolearn: b\n- rolearn: c\n  groups: *g\n- *a\n",
    "- rolearn: a\n  <<: {username: m, groups: [m]}\n  username: own\n",
    "- username: own\n  rolearn: a\n  <<: [{username: m}, {groups: [n]}]\n",
    "- sso:\n    permissionSetName: Admin\n    accountID: \"111122223333\"\n  username: s\n",
    "- sso: {permissionSetName: Admin, accountID: 111122223333}\n- sso: x\n- sso: {permissionSetName: a, accountID: '111122223333', partition: aws}\n- sso: {permissionSetName: a, accountID: '111122223333', partition: mars}\n",
    "- rolearn: a\n  sso: ~\n- rolearn: b\n  sso: {}\n- rolearn: c\n  sso: []\n",
    "%YAML 1.1\n---\n- rolearn: a\n...\n---\n- rolearn: b\n",
    "%YAML 1.2\n---\n- rolearn: a\n",
    "%TAG !e! tag:example.com,2000:\n---\n- rolearn: !e!x a\n",
    "- rolearn: a\r\n  username: u\r\n  groups:\r\n  - g\r\n",
    "\u{feff}- rolearn: a\n  username: u\n",
    "- rolearn: a\n\tusername: u\n",
    "-\trolearn: a\n",
    "- rolearn: a # c\n  # full\n  username: u # d\n\n  groups: # e\n  # f\n  - g # h\n\n# i\n- rolearn: b\n",
    "-\n  rolearn: a\n  username: |-\n    u\n    v\n  groups:\n  - >\n    folded\n    text\n",
    "-   rolearn:   a\n    groups:\n        -   g\n",
    "- ? rolearn\n  : a\n  ? groups\n  : - g\n    - h\n  ? note\n",
    "- rolearn: a\n---\n- rolearn: b\n  : x\n",
    "- rolearn: a\n  note: [1, {b: [c]}]\n  userid: 12\n",
    "- rolearn: \"a\\\n    b\"\n  username: 'x\n\n    y'\n",
    "- - a\n  - b\n- rolearn: a\n",
    "- rolearn: a\n  groups:\n    - [x]\n    - {y: z}\n    - - deep\n    - ok\n",
    "- []: x\n  rolearn: a\n",
    "- {a: b}: x\n",
    "- rolearn: a\n  groups: [x, y\n",
    "- rolearn: a\n  groups: [x,, y]\n",
    "- rolearn: a\n  groups: [x, y,]\n",
    "- rolearn: a\n  userid: .inf\n",
    "- rolearn: a\n  note: &n [*n]\n",
];

pub(crate) const USERS: &[&str] = &[
    "- userarn: arn:aws:iam::1:user/a\n  username: a\n  groups:\n    - g\n",
    "- userARN: a\n- rolearn: b\n- userarn: ''\n- userarn: c\n  sso: {}\n",
];

pub(crate) const ACCOUNTS: &[&str] = &[
    "- \"111122223333\"\n- '444455556666'\n- 012345678901\n",
    "- 012345678901\n- ~\n- [x]\n- a: b\n- yes\n- .inf\n- 1_0\n",
    "- a\n- !!int x\n- b\n",
    "- a\n- &b c\n- *b\n- !!binary aGk=\n- !!binary x\n",
    "[a, b, 1]",
    "x",
    "a: b",
    "~",
    "null",
    "!!int x",
    "[]",
    "- |\n  a\n- >-\n  b\n",
    "- &x [*x]\n- a\n",
];

/// Endless random texts with the keys of their sections: known or generated texts with up to three mutations.
pub(crate) fn random_texts(seed: u64) -> impl Iterator<Item = (&'static str, String)> {
    let mut rng = TestRng::new(seed);
    std::iter::repeat_with(move || {
        let (key, known_texts) = match rng.next_below(6) {
            0 => ("mapUsers", USERS),
            1 => ("mapAccounts", ACCOUNTS),
            _ => ("mapRoles", ROLES),
        };
        let mut text = if rng.one_in(3) { random_section(&mut rng, key) } else { rng.pick(known_texts).to_owned() };
        for _ in 0..rng.next_below(4) {
            mutate(&mut rng, &mut text, known_texts);
        }
        (key, text)
    })
}

/// Returns a list of entries in mixed styles, with values from [`SCALARS`].
pub(crate) fn random_section(rng: &mut TestRng, section: &str) -> String {
    let mut text = String::new();
    if rng.one_in(10) {
        text.push_str(rng.pick(&["---\n", "# top\n", "\n", "%YAML 1.1\n---\n", "\u{feff}"]));
    }
    let dash = rng.pick(&["", "", "", "  ", " "]);
    for _ in 0..=rng.next_below(3) {
        if section == "mapAccounts" {
            text.push_str(&format!("{dash}- {}\n", rng.pick(SCALARS)));
            continue;
        }
        let flow = rng.one_in(5);
        let gap = rng.pick(&[" ", " ", " ", "   ", "\n    "]);
        let column = if gap.starts_with('\n') { 4 } else { dash.len() + 1 + gap.len() };
        let arn = if section == "mapRoles" { "rolearn" } else { "userarn" };
        let mut pairs = vec![format!("{arn}: {}", rng.pick(&["a", "b", "\"c\"", "arn:aws:iam::1:role/x"]))];
        for _ in 0..rng.next_below(4) {
            let key = if rng.one_in(3) { rng.pick(KEYS) } else { rng.pick(&["username", "groups"]) };
            let value = match rng.next_below(4) {
                0 => format!("[{}, {}]", rng.pick(SCALARS), rng.pick(SCALARS)),
                1 if !flow => {
                    let inner = " ".repeat(column + rng.next_below(3));
                    format!("\n{inner}- {}\n{inner}- {}", rng.pick(SCALARS), rng.pick(SCALARS))
                }
                _ => rng.pick(SCALARS).to_owned(),
            };
            pairs.push(format!("{key}: {value}"));
        }
        if flow {
            text.push_str(&format!("{dash}-{gap}{{{}}}\n", pairs.join(", ")));
        } else {
            let indent = format!("\n{}", " ".repeat(column));
            text.push_str(&format!("{dash}-{gap}{}\n", pairs.join(&indent)));
        }
    }
    text
}

const TOKENS: &[&str] = &[
    " ", "  ", "\n", "\n\n", "\r\n", "\t", "-", "- ", ":", ": ", "?", "? ", ",", ", ", "[", "]", "{", "}", "#", " #",
    " # c", "&a ", "*a", "!", "!!str ", "|", ">", "|-\n", "'", "\"", "%", "@", "`", "---\n", "...\n", "\\", "<<: ",
    "~", "\u{feff}", "\u{85}", "\u{2028}", "{{", "}}", "0", "e", "_", "\n  ", "\n- ",
];

/// Applies one random mutation.
pub(crate) fn mutate(rng: &mut TestRng, text: &mut String, known_texts: &[&str]) {
    let mut chars: Vec<char> = text.chars().collect();
    let position = rng.next_below(chars.len() + 1);
    match rng.next_below(10) {
        0 => {
            let token: Vec<char> = rng.pick(TOKENS).chars().collect();
            chars.splice(position..position, token);
        }
        1 => {
            let token: Vec<char> = rng.pick(SCALARS).chars().collect();
            chars.splice(position..position, token);
        }
        2 => {
            let end = (position + 1 + rng.next_below(4)).min(chars.len());
            chars.drain(position.min(end)..end);
        }
        3 => {
            let other: Vec<char> = rng.pick(known_texts).chars().collect();
            let start = rng.next_below(other.len() + 1);
            let end = (start + rng.next_below(30)).min(other.len());
            chars.splice(position..position, other[start..end].to_vec());
        }
        4 => {
            // Replaces the rest of a word by a scalar.
            let end = (position..chars.len()).find(|index| !chars[*index].is_alphanumeric());
            let token: Vec<char> = rng.pick(SCALARS).chars().collect();
            chars.splice(position..end.unwrap_or(chars.len()), token);
        }
        _ => {
            let joined: String = chars.into_iter().collect();
            *text = mutate_lines(rng, &joined);
            return;
        }
    }
    *text = chars.into_iter().collect();
}

fn mutate_lines(rng: &mut TestRng, text: &str) -> String {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let (a, b) = (rng.next_below(lines.len()), rng.next_below(lines.len()));
    if lines.is_empty() {
        return String::new();
    }
    match rng.next_below(8) {
        0 => lines.swap(a, b),
        1 => lines.insert(b, lines[a].clone()),
        2 => {
            lines.remove(a);
        }
        3 => lines[a].insert(0, ' '),
        4 => lines[a].insert_str(0, "  "),
        5 => lines[a] = lines[a].trim_start_matches(' ').to_owned(),
        6 => {
            if lines[a].starts_with(' ') {
                lines[a].remove(0);
            }
        }
        _ => {
            let line = lines[a].trim_end_matches('\n').to_owned();
            lines[a] = format!("{line}{}\n", rng.pick(&[" # c", " ", "\t", ":", ",", "\r", " x"]));
        }
    }
    lines.concat()
}
