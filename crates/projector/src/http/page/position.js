// Positions in the log: `<topic id>/<partition>:<offset>[@<leader epoch>]`.

const FORM = /^([^/]+)\/(\d+):(\d+)(?:@(\d+))?$/;

/** Returns a position in its parts; null of a text that is none. */
export function parsePosition(text) {
  const parts = FORM.exec(text ?? "");
  return parts && { topic: parts[1], partition: Number(parts[2]), offset: Number(parts[3]), text };
}

/** Returns whether `later` is of an earlier record than `earlier`. Records of two partitions have no order. */
export function isOlder(later, earlier) {
  if (!later || !earlier || later.topic !== earlier.topic || later.partition !== earlier.partition) return false;
  return later.offset < earlier.offset;
}
