// Names as the projector sorts them: without case and accents. It is its order that counts; this one says where to put
// a person who comes while the list is looked at.

/** What people type for letters that Unicode does not decompose. */
const PLAIN = {
  æ: "ae", ð: "d", đ: "d", ħ: "h", ł: "l", ŋ: "n", ø: "o", œ: "oe", þ: "th", ŧ: "t",
  "\u2018": "'", "\u2019": "'", "\u02bc": "'", "\u2010": "-",
};

/** Returns a text without case and accents. */
export function fold(text) {
  const bare = text.normalize("NFKD").replace(/\p{Mn}/gu, "");
  return bare.toLowerCase().toUpperCase().toLowerCase().replace(/[^\x00-\x7f]/gu, (letter) => PLAIN[letter] ?? letter);
}
