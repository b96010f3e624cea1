// Who may not see, and the token of who may.

import { byId, h, setText } from "./dom.js";

const SCOPES = {
  "users:read": "see who is on the roll",
  "users:contact": "see telephone numbers and e-mail addresses",
  "users:pay": "see wages",
  "changes:read": "see changes as they happen",
  "status:read": "see the state of the system",
};

/** Returns in words what a refusal of 403 lacks. */
export function lacking(refusal) {
  const scope = refusal.scope;
  if (!scope) return `This token does not permit it: ${refusal.message}.`;
  const use = SCOPES[scope] ? ` to ${SCOPES[scope]}` : "";
  return `This token does not have the scope ${scope}, which it takes${use}.`;
}

/** Shows the form for a token; `enter(token)` is called with what was typed. */
export function askForToken(reason, enter) {
  const field = h("input", {
    id: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true,
    "aria-describedby": "token-note",
  });
  const form = h("form", { class: "card" },
    h("h2", {}, "Who are you?"),
    h("p", { id: "token-reason", role: "alert" }, reason),
    h("label", { for: "token" }, "Access token"),
    field,
    h("p", { id: "token-note", class: "muted" },
      "It stays in the memory of this tab, and is sent to this projector alone. When the tab is closed or loaded " +
      "again, it is gone. ", h("code", {}, "rollcall token"), " makes one."),
    h("button", { type: "submit", class: "main" }, "Show the roll"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    // A header takes no other characters; whoever pastes often has a space at the end.
    const token = field.value.trim().replace(/^Bearer\s+/i, "");
    field.value = "";
    if (/^[\x21-\x7e]+$/.test(token)) enter(token);
    else setText(byId("token-reason"), "This is no token: it has blanks, or letters that none has.");
  });
  byId("access").replaceChildren(form);
  byId("access").hidden = false;
  field.focus();
}

export function hideAccess() {
  byId("access").hidden = true;
  byId("access").replaceChildren();
}
