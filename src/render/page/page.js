"use strict";
// The script of the pages of rolecall. It shows text only with textContent, so that no name becomes markup.
(() => {
  const PAGE_ROWS = 50;
  const PAGE_COLUMNS = 16;
  const MAX_ROLES_IN_CELL = 6;
  const MAX_DETAILS = 200;
  const KIND_LABELS = {
    principal: "IAM principal",
    account: "AWS account",
    group: "group",
    user: "user",
    "service-account": "service account",
  };

  const element = (name, attributes = {}, ...children) => {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value !== undefined && value !== null) node.setAttribute(key, value);
    }
    for (const child of children) node.append(child);
    return node;
  };
  const number = (value) => value.toLocaleString("en");
  const count = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;
  const collator = new Intl.Collator("en", { numeric: true });
  const SEVERITIES = ["critical", "high", "medium", "low", null];
  // `role/viewer` of an ARN.
  const shortName = (subject) =>
    subject["principal-name"] ??
    (subject.kind === "principal" ? subject.subject.slice(subject.subject.lastIndexOf(":") + 1) : subject.subject);
  const objectText = (object) =>
    `${object.kind} ${object.namespace === null ? "" : object.namespace + "/"}${object.name}`;

  // `, access.toml:12`, or nothing if the page was made without a policy.
  const managedBy = (value, hasPolicy) => {
    if (!hasPolicy) return "";
    if (value === null) return ", not managed by a policy";
    return value.location ? `, ${value.location.file}:${value.location.line}` : `, policy ${value.policy}`;
  };

  // Waits until no key was pressed for a moment.
  const debounced = (action) => {
    let timer = 0;
    return () => {
      clearTimeout(timer);
      timer = setTimeout(action, 80);
    };
  };

  // The matrix of subjects and namespaces. Only the rows and columns of one page are in the document.
  class Matrix {
    constructor(root, cluster, hasPolicy) {
      this.root = root;
      this.cluster = cluster;
      this.hasPolicy = hasPolicy;
      this.rows = [];
      this.groups = cluster.access.map((access) => this.prepareGroup(access));
      for (const group of this.groups) {
        for (const subject of group.access.subjects) {
          this.rows.push({ subject, group, name: shortName(subject), text: null });
        }
      }
      // The most dangerous first, then the kinds in the order of their options, then the names.
      const kinds = Object.keys(KIND_LABELS);
      this.rows.sort(
        (a, b) =>
          SEVERITIES.indexOf(a.group.worst) - SEVERITIES.indexOf(b.group.worst) ||
          kinds.indexOf(a.subject.kind) - kinds.indexOf(b.subject.kind) ||
          collator.compare(a.name, b.name),
      );
      this.namespaces = [...cluster.namespaces].sort(collator.compare);
      this.rowStart = 0;
      this.columnStart = 0;
      this.find = (name) => root.querySelector(`[data-part="${name}"]`);
      const update = debounced(() => this.filter());
      for (const input of root.querySelectorAll("[data-filter]")) {
        input.addEventListener(input.type === "search" ? "input" : "change", update);
      }
      root.querySelector("form").addEventListener("submit", (event) => {
        event.preventDefault();
        this.filter();
      });
      for (const button of root.querySelectorAll("[data-move]")) {
        button.addEventListener("click", () => this.move(button.dataset.move));
      }
      root.hidden = false;
      this.filter();
    }

    // Finds the roles of a group of subjects in the whole cluster and in each namespace.
    prepareGroup(access) {
      const wholeCluster = new Set();
      const namespaces = new Map();
      for (const grant of access.grants) {
        const binding = this.cluster.bindings[grant.binding];
        const role = binding["role-exists"] ? binding.role.name : `${binding.role.name} (does not exist)`;
        const namespace = binding.binding.namespace;
        if (namespace === null) {
          wholeCluster.add(role);
        } else {
          if (!namespaces.has(namespace)) namespaces.set(namespace, new Set());
          namespaces.get(namespace).add(role);
        }
      }
      if (access["is-in-system-masters"]) wholeCluster.add("everything (system:masters)");
      const roles = new Set(wholeCluster);
      for (const names of namespaces.values()) for (const name of names) roles.add(name);
      const worst = access.escalations.length > 0 ? access.escalations[0].severity : null;
      return { access, wholeCluster, namespaces, worst, text: [...roles].join(" ").toLowerCase() };
    }

    textOf(row) {
      if (row.text === null) {
        const subject = row.subject;
        const identities = subject.identities.flatMap((identity) => [identity.username ?? "", ...identity.groups]);
        row.text = [subject.subject, subject["principal-name"] ?? "", ...identities].join(" ").toLowerCase();
      }
      return row.text;
    }

    value(name) {
      const input = this.root.querySelector(`[data-filter="${name}"]`);
      return input.type === "checkbox" ? input.checked : input.value.trim().toLowerCase();
    }

    filter() {
      const [text, namespace, kind, escalation] = ["text", "namespace", "kind", "escalation"].map((name) =>
        this.value(name),
      );
      const words = text.split(/\s+/).filter((word) => word !== "");
      const isWantedNamespace = (name) => name.toLowerCase().includes(namespace);
      const wantedGroups = new Set(
        this.groups.filter((group) => {
          if (escalation && group.worst === null) return false;
          return namespace === "" || group.wholeCluster.size > 0 || [...group.namespaces.keys()].some(isWantedNamespace);
        }),
      );
      this.shown = this.rows.filter(
        (row) =>
          wantedGroups.has(row.group) &&
          (kind === "" || row.subject.kind === kind) &&
          words.every((word) => this.textOf(row).includes(word) || row.group.text.includes(word)),
      );
      const used = new Set();
      for (const group of new Set(this.shown.map((row) => row.group))) {
        for (const name of group.namespaces.keys()) used.add(name);
      }
      this.columns = this.namespaces.filter((name) => used.has(name) && isWantedNamespace(name));
      this.rowStart = 0;
      this.columnStart = 0;
      // Hidden only while the focus is in the filter.
      const isPaged = this.shown.length > PAGE_ROWS || this.columns.length > PAGE_COLUMNS;
      this.root.querySelector(".pager").hidden = !isPaged;
      this.draw();
    }

    move(what) {
      if (what === "rows-previous") this.rowStart = Math.max(0, this.rowStart - PAGE_ROWS);
      if (what === "rows-next" && this.rowStart + PAGE_ROWS < this.shown.length) this.rowStart += PAGE_ROWS;
      if (what === "columns-previous") this.columnStart = Math.max(0, this.columnStart - PAGE_COLUMNS);
      if (what === "columns-next" && this.columnStart + PAGE_COLUMNS < this.columns.length) {
        this.columnStart += PAGE_COLUMNS;
      }
      this.draw();
    }

    draw() {
      const rows = this.shown.slice(this.rowStart, this.rowStart + PAGE_ROWS);
      const columns = this.columns.slice(this.columnStart, this.columnStart + PAGE_COLUMNS);
      const head = element("tr", {}, element("th", { scope: "col" }, "Subject"));
      head.append(element("th", { scope: "col" }, "Kind"));
      head.append(element("th", { scope: "col" }, "Escalation"));
      head.append(element("th", { scope: "col" }, "Whole cluster"));
      for (const name of columns) head.append(element("th", { scope: "col", class: "namespace" }, name));
      this.find("head").replaceChildren(head);
      this.find("body").replaceChildren(...rows.map((row) => this.drawRow(row, columns)));
      const total = this.rows.length;
      const range = (start, size, all) => (all === 0 ? "none" : `${number(start + 1)}–${number(start + size)} of ${number(all)}`);
      const filtered = this.shown.length < total ? ` (filtered from ${number(total)})` : "";
      this.find("status").textContent =
        `Subjects ${range(this.rowStart, rows.length, this.shown.length)}${filtered}. ` +
        `Namespaces in which they have roles: ${range(this.columnStart, columns.length, this.columns.length)}.`;
      this.setMove("rows-previous", this.rowStart > 0);
      this.setMove("rows-next", this.rowStart + PAGE_ROWS < this.shown.length);
      this.setMove("columns-previous", this.columnStart > 0);
      this.setMove("columns-next", this.columnStart + PAGE_COLUMNS < this.columns.length);
    }

    // A button that has the focus stays in the order of the focus, so it is not disabled by its attribute.
    setMove(name, isPossible) {
      const button = this.root.querySelector(`[data-move="${name}"]`);
      button.setAttribute("aria-disabled", isPossible ? "false" : "true");
    }

    drawRow(row, columns) {
      const { subject, group } = row;
      const details = element("details", {}, element("summary", {}, row.name));
      details.addEventListener("toggle", () => {
        if (details.open && details.childElementCount === 1) details.append(this.drawDetails(row));
      });
      const header = element("th", { scope: "row" }, details);
      if (row.name !== subject.subject) header.append(element("span", { class: "full-name" }, subject.subject));
      const line = element("tr", {}, header, element("td", {}, KIND_LABELS[subject.kind]));
      const severity = group.worst === null ? "" : element("span", { class: `severity ${group.worst}` }, group.worst);
      line.append(element("td", {}, severity), this.drawRoles(group.wholeCluster));
      for (const column of columns) line.append(this.drawRoles(group.namespaces.get(column) ?? new Set()));
      return line;
    }

    drawRoles(roles) {
      const cell = element("td", { class: "roles" });
      const names = [...roles];
      for (const name of names.slice(0, MAX_ROLES_IN_CELL)) cell.append(element("span", { class: "role" }, name), " ");
      if (names.length > MAX_ROLES_IN_CELL) cell.append(`and ${number(names.length - MAX_ROLES_IN_CELL)} more`);
      return cell;
    }

    drawDetails(row) {
      const { subject, group } = row;
      const list = (title, items) => {
        const shown = items.slice(0, MAX_DETAILS).map((item) => element("li", {}, item));
        if (items.length > MAX_DETAILS) shown.push(element("li", {}, `and ${number(items.length - MAX_DETAILS)} more`));
        return element("div", {}, element("p", { class: "list-title" }, title), element("ul", {}, ...shown));
      };
      const out = element("div", { class: "details" });
      const identities = subject.identities.map((identity) => {
        const entry = identity.entry;
        const line = entry === null || entry.line === null ? "" : ` line ${entry.line}`;
        const place = entry === null ? "" : `, ${entry.section}${line}${managedBy(entry["managed-by"], this.hasPolicy)}`;
        return `user ${identity.username}, groups ${identity.groups.join(", ")}${place}`;
      });
      if (identities.length > 0) out.append(list("Logs in as", identities));
      const grants = group.access.grants.map((grant) => {
        const binding = this.cluster.bindings[grant.binding];
        const manager = managedBy(binding["managed-by"], this.hasPolicy);
        return `${grant.via} → ${objectText(binding.binding)} → ${objectText(binding.role)}${manager}`;
      });
      if (group.access["is-in-system-masters"]) grants.unshift("group:system:masters: everything, without RBAC");
      out.append(grants.length > 0 ? list("Has", grants) : element("p", {}, "Has no role."));
      const paths = group.access.escalations.map((path) => `${path.severity}: ${path.path}`);
      if (paths.length > 0) out.append(list("Can escalate", paths));
      return out;
    }
  }

  // Hides the items of a list that do not have all words of the filter.
  const filterList = (input) => {
    const items = [...document.querySelectorAll(`#${input.dataset.list} [data-item]`)];
    const chunks = [...document.querySelectorAll(`#${input.dataset.list} [data-chunk]`)];
    const status = document.getElementById(input.dataset.status);
    let texts = null;
    const update = () => {
      texts ??= items.map((item) => item.textContent.toLowerCase());
      const words = input.value.toLowerCase().split(/\s+/).filter((word) => word !== "");
      let shown = 0;
      items.forEach((item, position) => {
        const isShown = words.every((word) => texts[position].includes(word));
        item.hidden = !isShown;
        if (isShown) shown += 1;
      });
      for (const chunk of chunks) chunk.hidden = chunk.querySelector("[data-item]:not([hidden])") === null;
      status.textContent = words.length === 0 ? "" : `${number(shown)} of ${count(items.length, "item")}`;
    };
    input.form?.addEventListener("submit", (event) => event.preventDefault());
    input.addEventListener("input", debounced(update));
  };

  // Marks the nodes of a graph that have the words of the filter, and what leads to them and from them.
  const filterGraph = (input) => {
    const graph = document.getElementById(input.dataset.graph);
    const status = document.getElementById(input.dataset.status);
    const nodes = [...graph.querySelectorAll("[data-node]")];
    const edges = [...graph.querySelectorAll("[data-from]")];
    const reach = (start, from, to) => {
      const found = new Set(start);
      const rest = [...start];
      while (rest.length > 0) {
        const node = rest.pop();
        for (const edge of edges) {
          const next = edge.dataset[to];
          if (edge.dataset[from] === node && !found.has(next)) {
            found.add(next);
            rest.push(next);
          }
        }
      }
      return found;
    };
    const update = () => {
      const text = input.value.trim().toLowerCase();
      const isMatch = (node) => node.textContent.toLowerCase().includes(text);
      const matches = text === "" ? [] : nodes.filter(isMatch).map((node) => node.dataset.node);
      const connected = new Set([...reach(matches, "from", "to"), ...reach(matches, "to", "from")]);
      graph.classList.toggle("is-filtered", text !== "");
      for (const node of nodes) node.classList.toggle("is-shown", connected.has(node.dataset.node));
      for (const edge of edges) {
        const isShown = connected.has(edge.dataset.from) && connected.has(edge.dataset.to);
        edge.classList.toggle("is-shown", isShown);
      }
      status.textContent = text === "" ? "" : `${count(matches.length, "node")} found`;
    };
    input.form?.addEventListener("submit", (event) => event.preventDefault());
    input.addEventListener("input", debounced(update));
  };

  const data = document.getElementById("data");
  if (data !== null) {
    const page = JSON.parse(data.textContent);
    for (const root of document.querySelectorAll("[data-matrix]")) {
      new Matrix(root, page.clusters[Number(root.dataset.matrix)], page["has-policy"]);
    }
  }
  document.querySelectorAll("[data-list]").forEach(filterList);
  document.querySelectorAll("[data-graph]").forEach(filterGraph);
  for (const part of document.querySelectorAll("[data-needs-script]")) part.hidden = false;
  document.documentElement.dataset.ready = "true";
})();
