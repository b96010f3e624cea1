// What is wrong with the system, in words, each with what to do.

import { counted, duration } from "./dom.js";

/** Of a table that is further behind, it is said. */
const BEHIND_MS = 60_000;

/** Returns `{ level, verdict, advice: [[what, todo], …] }` of a status. `level` is good, warn or bad. */
export function judge(status) {
  const advice = [...phase(status), ...cluster(status), ...log(status), ...records(status)];
  const isBad = advice.some(([level]) => level === "bad");
  const level = isBad ? "bad" : advice.some(([level]) => level === "warn") ? "warn" : "good";
  const verdict = { good: "All is well", warn: "It works, with a fault to look at", bad: "It does not work as it should" };
  return { level, verdict: verdict[level], advice: advice.map(([, what, todo]) => [what, todo]) };
}

function phase({ phase, phaseDetail }) {
  const detail = phaseDetail.replace(/;.*$/, "");
  switch (phase) {
    case "starting":
      return [["bad", `Nothing can be answered yet: ${detail}.`, "Wait; if it stays so, check that Kafka can be reached."]];
    case "stored":
      return [["warn", `The table is that of an earlier run: ${detail}.`,
        "It answers as of then. Check that Kafka can be reached from here: `rollcall config check --online`."]];
    case "rebuilding":
      return [["warn", `The table is being made again from the log: ${detail}.`,
        "Wait: it goes on by itself. Send readers to another replica until then."]];
    case "catching-up":
      return [["warn", "The table is not yet where the log ended at start.", "Wait: it goes on by itself."]];
    case "indexing":
      return [["warn", "Indexes are being made: searches, filters and the order of names have to wait for theirs.",
        "Wait: it goes on by itself. People are shown by number meanwhile."]];
    case "failed":
      return [["bad", `The projector has failed: ${detail}.`, "Its log has the cause. Start it again once that is mended."]];
    case "ended":
      return [["bad", "The projector is stopping.", "Look at another replica, or wait until it is back."]];
    default:
      return [];
  }
}

function cluster({ cluster: { answers, lastAnswer }, asOf }) {
  if (!answers) {
    const since = lastAnswer ? ` since ${new Date(lastAnswer).toLocaleTimeString("en-GB")}` : "";
    return [["bad", `Kafka does not answer${since}.`,
      "What is shown stays right as of then. Check brokers and network; `rollcall config check --online` names the cause."]];
  }
  const behind = asOf ? Date.now() - Date.parse(asOf) : 0;
  if (behind <= BEHIND_MS) return [];
  return [["warn", `The table is ${duration(behind)} behind.`,
    "See the lag below: a partition that does not move has no leader, or is held back. Otherwise it catches up."]];
}

function log({ partitions, erasureHeldBack }) {
  const found = [];
  const held = partitions.filter(({ heldBack }) => heldBack !== null).map(({ partition }) => partition);
  if (held.length > 0) {
    found.push(["bad", `An open transaction holds back ${partitionsText(held)}.`,
      "Find the producer with `kafka-transactions.sh find-hanging`, and abort its transaction."]);
  }
  const leaderless = partitions.filter(({ endOffset }) => endOffset === null).map(({ partition }) => partition);
  if (leaderless.length > 0) {
    found.push(["warn", `Nobody says where ${partitionsText(leaderless)} ends.`,
      "Check that each partition has a leader: `kafka-topics.sh --describe`."]);
  }
  if (erasureHeldBack !== null) {
    found.push(["warn", `Forgotten people are not erased yet: ${erasureHeldBack}.`,
      "They are not answered any more. Mend the cause; then the erasure goes on by itself."]);
  }
  return found;
}

function records({ gaps, unreadable, unknown }) {
  const found = [];
  if (gaps.lost > 0) {
    found.push(["warn", `${counted(gaps.lost, "delivery is", "deliveries are")} lost: VCC Live has given up.`,
      "The people are right all the same, since each event carries the whole person. Nothing can be fetched again; see " +
      "whether ingest could be reached at that time."]);
  }
  if (unreadable.records > 0) {
    found.push(["warn", `${counted(unreadable.records, "record", "records")} could not be read.`,
      "They are kept among the dead letters: `rollcall dead-letter list`. `rollcall verify` names who is concerned."]);
  }
  if (unknown.users > 0) {
    found.push(["warn", `The latest records of ${counted(unknown.users, "person", "people")} are of a later release.`,
      "Update this projector to the release that writes the topic."]);
  }
  return found;
}

const partitionsText = (list) => `${list.length === 1 ? "partition" : "partitions"} ${list.join(", ")}`;
