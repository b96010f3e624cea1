//! A registered schema that is not released here: one of a later build, or of another writer of user events. Its values
//! are resolved to the newest released version by name and default, as Avro defines ("Schema Resolution").

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema_compatibility::SchemaCompatibility;

use super::schema;

/// Put behind a datum that is read.
const BEHIND: [u8; 16] = [0; 16];

/// A writer's schema whose values can be resolved.
#[derive(Debug)]
pub(super) struct Foreign(Schema);

impl Foreign {
    /// # Errors
    /// The reason why values of `schema` cannot be resolved, as text.
    pub(super) fn new(schema: Schema) -> Result<Self, String> {
        match &schema {
            Schema::Record(record) if record.name.fullname(None) == schema::NAME => {}
            other => {
                let name = other.name().map_or_else(|| "no name".to_owned(), |name| name.fullname(None));
                return Err(format!("it is the schema of {name}, not of {}", schema::NAME));
            }
        }
        SchemaCompatibility::can_read(&schema, schema::v1().schema).map_err(|error| error.to_string())?;
        Ok(Self(schema))
    }

    /// Returns the datum as the newest released version writes it, without the fields that only the writer has. `None`
    /// when the bytes do not follow the writer's schema or have more after their end.
    pub(super) fn resolve(&self, datum: &[u8]) -> Option<Vec<u8>> {
        // The library takes the end of the bytes for a null. In a cut datum it reads on into what is put behind.
        let padded = [datum, &BEHIND].concat();
        let mut rest = padded.as_slice();
        let released = schema::v1();
        let reader = GenericDatumReader::builder(&self.0).reader_schema(released.schema).human_readable(false);
        let value = reader.build().ok()?.read_value(&mut rest).ok()?;
        if rest.len() == BEHIND.len() { released.writer.write_value_to_vec(value).ok() } else { None }
    }
}
