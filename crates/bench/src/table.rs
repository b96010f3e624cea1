//! The table of a command: the median of each measure over the rounds, and the ratio to the limit.

use std::fmt::Write as _;

use crate::Outcome;

/// A measure of every row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    name: &'static str,
    decimals: usize,
    /// Whether each round is told, not only the median.
    by_round: bool,
}

/// Returns a measure with so many decimals.
pub(crate) const fn column(name: &'static str, decimals: usize) -> Column {
    Column { name, decimals, by_round: false }
}

/// Returns a measure of which every round is told: that of the noise.
pub(crate) const fn by_round(name: &'static str) -> Column {
    Column { name, decimals: 0, by_round: true }
}

/// What is measured: rows by rounds by columns. Of a measure that a row has not, the value is not a number.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    columns: Vec<Column>,
    /// The column after which a ratio is printed, and the row that is 1.
    ratio: Option<(usize, usize)>,
    rows: Vec<(String, Vec<Vec<f64>>)>,
}

impl Table {
    /// Returns a table without rows.
    pub(crate) fn new(title: impl Into<String>, columns: &[Column]) -> Self {
        Self { title: title.into(), columns: columns.to_vec(), ratio: None, rows: Vec::new() }
    }

    /// Prints the ratio of every row to `row` after `column`.
    pub(crate) fn with_ratio(self, column: usize, row: usize) -> Self {
        Self { ratio: Some((column, row)), ..self }
    }

    /// Adds a round of the row of that name, which it makes if there is none.
    ///
    /// # Errors
    /// If there are more or fewer values than columns.
    pub(crate) fn add(&mut self, row: &str, values: Vec<f64>) -> Outcome<()> {
        if values.len() != self.columns.len() {
            return Err(format!("{row} has {} values, the table {} columns", values.len(), self.columns.len()).into());
        }
        match self.rows.iter_mut().find(|(name, _)| name == row) {
            Some((_, rounds)) => rounds.push(values),
            None => self.rows.push((row.to_owned(), vec![values])),
        }
        Ok(())
    }

    /// Prints the table as Markdown.
    pub(crate) fn print(&self) {
        println!("\n{}", self.text());
    }

    fn text(&self) -> String {
        let mut text = format!("**{}**\n\n| |", self.title);
        let mut rule = "| --- |".to_owned();
        for (place, column) in self.columns.iter().enumerate() {
            text += &format!(" {} |", column.name);
            rule += " ---: |";
            if self.ratio.is_some_and(|(at, _)| at == place) {
                text += " of the limit |";
                rule += " ---: |";
            }
        }
        let _infallible = write!(text, "\n{rule}\n");
        for (name, rounds) in &self.rows {
            text += &format!("| {name} |");
            for place in 0..self.columns.len() {
                text += &format!(" {} |", self.cell(rounds, place));
                if let Some((at, limit)) = self.ratio
                    && at == place
                {
                    let limit = self.rows.get(limit).map_or(f64::NAN, |(_, rounds)| median(rounds, place));
                    text += &format!(" {} |", number(median(rounds, place) / limit, 2));
                }
            }
            text.push('\n');
        }
        text
    }

    fn cell(&self, rounds: &[Vec<f64>], place: usize) -> String {
        let Some(column) = self.columns.get(place) else { return String::new() };
        if column.by_round {
            let rounds: Vec<String> = rounds.iter().map(|round| number(round[place], column.decimals)).collect();
            return rounds.join(", ");
        }
        number(median(rounds, place), column.decimals)
    }
}

/// Returns the median of a measure; of an even number, the mean of the two in the middle.
fn median(rounds: &[Vec<f64>], place: usize) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(|round| round[place]).filter(|value| !value.is_nan()).collect();
    values.sort_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => f64::NAN,
        (count, middle) if count % 2 == 1 => values[middle],
        (_, middle) => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// Returns a number with its thousands set apart, or a dash for none.
fn number(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let plain = format!("{value:.decimals$}");
    let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let mut text = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 && digit.is_ascii_digit() && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_the_rounds_is_printed_with_its_ratio_to_the_limit() {
        let columns = [column("acked/s", 0), by_round("others %")];
        let mut table = Table::new("ingest", &columns).with_ratio(0, 0);
        for (limit, own) in [(20_000.0, 9_000.0), (22_000.0, 11_000.4), (90_000.0, 12_000.0)] {
            table.add("limit", vec![limit, 1.0]).unwrap();
            table.add("Rollcall", vec![own, f64::NAN]).unwrap();
        }
        let wanted = "**ingest**\n\n| | acked/s | of the limit | others % |\n| --- | ---: | ---: | ---: |\n\
                      | limit | 22,000 | 1.00 | 1, 1, 1 |\n| Rollcall | 11,000 | 0.50 | –, –, – |\n";
        assert_eq!(table.text(), wanted);
    }

    #[test]
    fn a_row_has_a_value_for_every_column() {
        let mut table = Table::new("ingest", &[column("acked/s", 0)]);
        assert_eq!(table.add("limit", vec![]).unwrap_err().to_string(), "limit has 0 values, the table 1 columns");
    }

    #[test]
    fn of_two_rounds_the_median_is_between_them() {
        assert_eq!(number(median(&[vec![1.0], vec![2.0]], 0), 1), "1.5");
    }

    #[test]
    fn thousands_are_set_apart() {
        let texts = [0.0, 999.0, 1_000.0, 1_234_567.8].map(|value| number(value, 0));
        assert_eq!(texts, ["0", "999", "1,000", "1,234,568"]);
        assert_eq!((number(-1_234.5, 1), number(-123.0, 0)), ("-1,234.5".to_owned(), "-123".to_owned()));
    }
}
