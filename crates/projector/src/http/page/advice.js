// What is wrong with the system, in words, each with what to do.

import { clock, counted, sentence } from "./dom.js";

/** Returns `{ level, verdict, advice: [[what, todo], …] }` of a status. `level` is good, warn or bad. */
export function judge(status) {
  const advice = [...readiness(status), ...cluster(status), ...partitions(status), ...erasure(status), ...records(status)];
  const isBad = advice.some(([level]) => level === "bad");
  const level = isBad ? "bad" : advice.some(([level]) => level === "warn") ? "warn" : "good";
  const verdict = { good: "All is well", warn: "It works, with a fault to look at", bad: "It does not work as it should" };
  return {
    level,
    verdict: status.ready.isReady ? verdict[level] : "Not ready",
    advice: advice.map(([, what, todo]) => [what, todo]),
  };
}

/** Says what `/readyz` says: the words are the projector's. */
function readiness({ ready }) {
  return ready.lacks.map(({ condition, reason, todo }) =>
    ["bad", sentence(`${condition}: ${reason}`), sentence(todo)]);
}

/** Says that the cluster is silent. A table that is not too old is ready all the same; else its reason says it. */
function cluster({ ready, cluster: { answers, lastAnswer } }) {
  if (answers || ready.lacks.some(({ condition }) => condition === "table")) return [];
  const since = lastAnswer ? ` since ${clock(new Date(lastAnswer))}` : "";
  return [["bad", `Kafka does not answer${since}.`,
    "What is shown stays right as of then. Check brokers and network; `rollcall config check --online` names the cause."]];
}

function partitions({ partitions, partitionsFault, cluster: { answers } }) {
  const found = [];
  if (partitionsFault !== null) {
    found.push(["bad", sentence(partitionsFault),
      "The records of one person may be on two of them. `rollcall topics copy` makes a topic with the right number."]);
  }
  const held = partitions.filter(({ heldBack }) => heldBack !== null).map(({ partition }) => partition);
  if (held.length > 0) {
    found.push(["bad", `An open transaction holds back ${partitionsText(held)}.`,
      "Find the producer with `kafka-transactions.sh find-hanging`, and abort its transaction."]);
  }
  const gone = partitions.filter(({ endOffset }) => answers && endOffset === null).map(({ partition }) => partition);
  if (gone.length > 0) {
    const leaders = gone.length === 1 ? ["leader", "does"] : ["leaders", "do"];
    found.push(["bad", `The ${leaders[0]} of ${partitionsText(gone)} ${leaders[1]} not answer.`,
      "What changed there since is not shown yet. `kafka-topics.sh --describe` names the broker; see to it."]);
  }
  return found;
}

function erasure({ erasureHeldBack }) {
  if (erasureHeldBack === null) return [];
  return [["warn", `Forgotten people are not erased yet: ${erasureHeldBack}.`,
    "They are not answered any more. Mend the cause; then the erasure goes on by itself."]];
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
