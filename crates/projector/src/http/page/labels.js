// The members of a user by the labels of the vendor's own table, and in its order of interest to people.

export const LABELS = {
  userId: "Unique identifier",
  name: "Full name",
  username: "Login name",
  extension: "Extension number",
  state: "Status",
  isAgent: "Type is agent",
  privGroup: "Group",
  email: "Email address",
  contactPhone: "Contact phone number",
  outboundPhone: "Outbound phone number",
  mobilePhone: "Mobile app phone number",
  mobileProjectId: "Mobile app project ID",
  registerTransport: "Registration protocol",
  sampleRate: "Sample rate frequency",
  redistribution: "Shared callback distribution",
  messageLists: "Notification type preference",
  hourly: "Hourly salary",
  monthly: "Monthly wage",
};

export const labelOf = (field) => LABELS[field] ?? (field === "extra" ? "Members outside the vendor's table" : field);

/** Returns a value as people read it; null for nothing. */
export function valueText(field, value) {
  if (value === null || value === undefined) return null;
  if (field === "redistribution" && (value === 0 || value === 1)) return value === 1 ? "yes" : "no";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.length > 0 && value.every((item) => typeof item === "string")
    ? value.join(", ")
    : value.length > 0 ? JSON.stringify(value) : "none";
  if (typeof value === "object") return JSON.stringify(value);
  return value === "" ? "(empty)" : String(value);
}
