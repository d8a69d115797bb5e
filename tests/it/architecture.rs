//! The structure of the crate: which module may use which, what the pure modules must not do, and that a type name is
//! defined once.
//!
//! The checks read the syntax tree, so that nested imports and `super::super` paths count.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::Visit;

/// The top-level modules in dependency order: a module uses only modules before it.
const LAYERS: [&str; 22] = [
    "names",
    "diagnostic",
    "yaml",
    "api_resources",
    "state",
    "access",
    "policy",
    "lint",
    "plan",
    "guard",
    "permissions",
    "report",
    "render",
    "files",
    "transport",
    "aws",
    "cluster",
    "forge",
    "apply",
    "ops",
    "cli",
    "fuzz",
];
/// The first module that may read files, open sockets, ask the clock or write to a terminal.
const FIRST_IMPURE_LAYER: &str = "files";
/// Paths that a pure module must not use.
const IMPURE_PATHS: [&[&str]; 9] = [
    &["std", "env"],
    &["std", "fs"],
    &["std", "net"],
    &["std", "process"],
    &["std", "time", "SystemTime"],
    &["SystemTime"],
    &["kube"],
    &["tokio"],
    &["println"],
];
/// A longer file usually holds a second concept.
const MAX_LINES: usize = 500;

struct SourceFile {
    /// Relative to `src`, with `/`.
    name: String,
    /// The module path, for `self` and `super`.
    module: Vec<String>,
    text: String,
    tree: syn::File,
}

fn rust_files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

fn source_files() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    rust_files(&root, &mut paths);
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap().display().to_string().replace('\\', "/");
            let text = std::fs::read_to_string(path).unwrap();
            let tree = syn::parse_file(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut module: Vec<String> = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
            if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
                module.pop();
            }
            SourceFile { name, module, text, tree }
        })
        .collect()
}

fn is_test_file(file: &SourceFile) -> bool {
    file.module.iter().any(|part| part == "tests") || file.name == "test_cluster.rs"
}

fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string() == "test",
        _ => false,
    })
}

/// Every path that the code of a file names, made absolute, with its line.
struct PathCollector<'a> {
    module: Vec<String>,
    paths: &'a mut Vec<(usize, Vec<String>)>,
    async_lines: &'a mut Vec<usize>,
}

impl PathCollector<'_> {
    fn record(&mut self, line: usize, segments: &[String]) {
        let mut absolute = Vec::new();
        let mut module = self.module.clone();
        let mut relative = false;
        for (index, segment) in segments.iter().enumerate() {
            match segment.as_str() {
                "crate" if index == 0 => absolute.push("crate".to_owned()),
                "self" if index == 0 => relative = true,
                "super" if absolute.is_empty() => {
                    module.pop();
                    relative = true;
                }
                name => {
                    if relative && absolute.is_empty() {
                        absolute.push("crate".to_owned());
                        absolute.append(&mut module);
                    }
                    absolute.push(name.to_owned());
                }
            }
        }
        self.paths.push((line, absolute));
    }

    fn record_use_tree(&mut self, tree: &syn::UseTree, prefix: &mut Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.record_use_tree(&path.tree, prefix);
                prefix.pop();
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.record_use_tree(item, prefix)),
            syn::UseTree::Name(name) => self.record_use_leaf(&name.ident, prefix),
            syn::UseTree::Rename(rename) => self.record_use_leaf(&rename.ident, prefix),
            syn::UseTree::Glob(glob) => {
                let line = glob.span().start().line;
                self.record(line, prefix);
            }
        }
    }

    fn record_use_leaf(&mut self, name: &syn::Ident, prefix: &[String]) {
        let mut path = prefix.to_vec();
        path.push(name.to_string());
        self.record(name.span().start().line, &path);
    }
}

impl<'ast> Visit<'ast> for PathCollector<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_test_only(&item.attrs) {
            self.record_use_tree(&item.tree, &mut Vec::new());
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.record(path.span().start().line, &segments);
        syn::visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if is_test_only(&item.attrs) {
            return;
        }
        self.module.push(item.ident.to_string());
        syn::visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_test_only(&item.attrs) {
            syn::visit::visit_item_fn(self, item);
        }
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if let Some(token) = signature.asyncness.as_ref() {
            self.async_lines.push(token.span().start().line);
        }
        syn::visit::visit_signature(self, signature);
    }

    fn visit_expr_await(&mut self, expression: &'ast syn::ExprAwait) {
        self.async_lines.push(expression.await_token.span().start().line);
        syn::visit::visit_expr_await(self, expression);
    }
}

/// The absolute paths and the lines with `async` or `.await` of a file, without its tests.
fn paths_of(file: &SourceFile) -> (Vec<(usize, Vec<String>)>, Vec<usize>) {
    let (mut paths, mut async_lines) = (Vec::new(), Vec::new());
    let mut collector = PathCollector { module: file.module.clone(), paths: &mut paths, async_lines: &mut async_lines };
    collector.visit_file(&file.tree);
    (paths, async_lines)
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| *layer == module)
}

#[test]
fn each_module_uses_only_modules_before_it() {
    let mut violations = Vec::new();
    for file in source_files().iter().filter(|file| !is_test_file(file)) {
        let Some(own) = file.module.first().and_then(|module| layer_of(module)) else {
            assert!(["lib.rs", "main.rs", "fuzz.rs"].contains(&file.name.as_str()), "{} is in no layer", file.name);
            continue;
        };
        for (line, path) in paths_of(file).0 {
            let used = path.first().filter(|root| *root == "crate").and_then(|_| path.get(1));
            if let Some(used) = used.filter(|used| layer_of(used).is_some_and(|layer| layer > own)) {
                violations.push(format!("{}:{line} uses {used}, a later layer", file.name));
            }
        }
    }
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn pure_modules_do_no_io_and_are_not_async() {
    let first_impure = layer_of(FIRST_IMPURE_LAYER).unwrap();
    let mut violations = Vec::new();
    for file in source_files().iter().filter(|file| !is_test_file(file)) {
        if file.module.first().and_then(|module| layer_of(module)).is_none_or(|layer| layer >= first_impure) {
            continue;
        }
        let (paths, async_lines) = paths_of(file);
        violations.extend(async_lines.iter().map(|line| format!("{}:{line} is async", file.name)));
        for (line, path) in paths {
            let names: Vec<&str> = path.iter().map(String::as_str).collect();
            if IMPURE_PATHS.iter().any(|impure| names.starts_with(impure)) {
                violations.push(format!("{}:{line} uses {}", file.name, names.join("::")));
            }
        }
    }
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn each_file_begins_with_its_purpose_and_stays_short() {
    for file in source_files() {
        assert!(file.text.starts_with("//! "), "{} does not begin with a module comment", file.name);
        let lines = file.text.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines, at most {MAX_LINES}", file.name);
    }
}

/// Where each type name is defined. Associated types of traits belong to their trait and do not count.
#[derive(Default)]
struct TypeCollector {
    file: String,
    definitions: BTreeMap<String, Vec<String>>,
}

impl TypeCollector {
    fn record(&mut self, name: &syn::Ident) {
        let place = format!("{}:{}", self.file, name.span().start().line);
        self.definitions.entry(name.to_string()).or_default().push(place);
    }
}

impl<'ast> Visit<'ast> for TypeCollector {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.record(&item.ident);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.record(&item.ident);
    }

    fn visit_item_union(&mut self, item: &'ast syn::ItemUnion) {
        self.record(&item.ident);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.record(&item.ident);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.record(&item.ident);
        syn::visit::visit_item_trait(self, item);
    }
}

#[test]
fn each_type_name_is_defined_once() {
    let mut collector = TypeCollector::default();
    for file in source_files() {
        collector.file.clone_from(&file.name);
        collector.visit_file(&file.tree);
    }
    assert!(collector.definitions.len() > 100, "the collector reads the crate");
    let repeated: BTreeMap<_, _> = collector.definitions.iter().filter(|(_, places)| places.len() > 1).collect();
    assert!(repeated.is_empty(), "{repeated:#?}");
}
