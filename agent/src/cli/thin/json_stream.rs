//! One JSON document, written while its content is found.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::json;

use crate::failure::Failure;

/// Writes a document to `W`. Its methods are called in an order that makes one: what they write is
/// not checked.
pub(super) struct JsonStream<W> {
    out: W,
    /// What is open, the outermost first.
    open: Vec<Open>,
}

struct Open {
    close: &'static str,
    is_empty: bool,
}

impl<W: Write> JsonStream<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, open: Vec::new() }
    }

    /// Begins an object with these fields.
    pub(super) fn object(&mut self, fields: &impl Serialize) -> io::Result<()> {
        self.separate()?;
        self.out.write_all(b"{")?;
        self.open.push(Open { close: "}", is_empty: true });
        self.fields(fields)
    }

    /// Adds fields to the open object.
    pub(super) fn fields(&mut self, fields: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(fields)?;
        let inside = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        match inside.unwrap_or_default() {
            "" => Ok(()),
            inside => {
                self.separate()?;
                self.out.write_all(inside.as_bytes())
            }
        }
    }

    /// Begins a list as a field of the open object.
    pub(super) fn list(&mut self, name: &str) -> io::Result<()> {
        self.separate()?;
        write!(self.out, "{}:[", json!(name))?;
        self.open.push(Open { close: "]", is_empty: true });
        Ok(())
    }

    /// Adds a value to the open list.
    pub(super) fn item(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.separate()?;
        Ok(serde_json::to_writer(&mut self.out, value)?)
    }

    /// Ends the object or list that was begun last.
    pub(super) fn end(&mut self) -> io::Result<()> {
        let close = self.open.pop().map_or("", |open| open.close);
        self.out.write_all(close.as_bytes())
    }

    /// Ends the document, after a failure with an `error` of its own.
    pub(super) fn finish(&mut self, failure: Option<&Failure>) -> io::Result<()> {
        if let Some(failure) = failure {
            while self.open.len() > 1 {
                self.end()?;
            }
            if self.open.is_empty() {
                self.object(&json!({}))?;
            }
            self.fields(&json!({ "error": failure }))?;
        }
        while !self.open.is_empty() {
            self.end()?;
        }
        self.out.write_all(b"\n")?;
        self.out.flush()
    }

    fn separate(&mut self) -> io::Result<()> {
        match self.open.last_mut() {
            Some(open) if !open.is_empty => self.out.write_all(b","),
            Some(open) => {
                open.is_empty = false;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Code;

    fn written(write: impl FnOnce(&mut JsonStream<&mut Vec<u8>>) -> io::Result<()>) -> String {
        let mut bytes = Vec::new();
        write(&mut JsonStream::new(&mut bytes)).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_is_written_piece_by_piece_is_one_document() {
        let text = written(|json| {
            json.object(&json!({ "a": 1 }))?;
            json.list("empty")?;
            json.end()?;
            json.list("devices")?;
            for id in 0..2 {
                json.object(&json!({}))?;
                json.list("mappings")?;
                json.item(&json!({ "id": id }))?;
                json.item(&json!(2))?;
                json.end()?;
                json.fields(&json!({ "total": 2 }))?;
                json.end()?;
            }
            json.end()?;
            json.fields(&json!({ "z": 3 }))?;
            json.finish(None)
        });
        assert_eq!(
            text,
            r#"{"a":1,"empty":[],"devices":[{"mappings":[{"id":0},2],"total":2},{"mappings":[{"id":1},2],"total":2}],"z":3}"#
                .to_owned()
                + "\n"
        );
    }

    #[test]
    fn a_failure_on_the_way_ends_a_document_that_is_whole() {
        let failure = Failure::new(Code::Damaged, "broken");
        let text = written(|json| {
            json.object(&json!({ "a": 1 }))?;
            json.list("devices")?;
            json.object(&json!({ "id": 1 }))?;
            json.list("mappings")?;
            json.item(&json!(2))?;
            json.finish(Some(&failure))
        });
        assert_eq!(
            text.trim_end(),
            r#"{"a":1,"devices":[{"id":1,"mappings":[2]}],"error":{"code":"damaged","message":"broken"}}"#
        );
        let text = written(|json| json.finish(Some(&failure)));
        assert_eq!(text.trim_end(), r#"{"error":{"code":"damaged","message":"broken"}}"#);
    }
}
