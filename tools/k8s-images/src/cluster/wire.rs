//! Protobuf's wire format: the fields of a message one after the other, without a structure that they are read into.
//!
//! For messages that hold far more than is asked for, such as schemas. Pure.
//!
//! Rules: protobuf encoding, "Message Structure". Kubernetes has no groups, which are all that is left out.

/// The fields of a message, in the order in which they stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A number or a boolean.
    Number(u64),
    /// A text, or a message.
    Bytes(&'a [u8]),
    /// A number of a fixed length.
    Fixed,
}

/// A message that is none, or was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

/// The number that bytes begin with, and how long it is; none where it is not all there.
pub(super) fn varint(bytes: &[u8]) -> Result<Option<(u64, usize)>, Broken> {
    let mut value = 0;
    for (number, byte) in bytes.iter().take(LONGEST).enumerate() {
        // The tenth byte has room for one bit; what is beyond it is lost, as with every reader.
        value |= u64::from(byte & 0x7f) << (7 * number);
        if byte & 0x80 == 0 {
            return Ok(Some((value, number + 1)));
        }
    }
    if bytes.len() < LONGEST { Ok(None) } else { Err(Broken) }
}

/// How many bytes the largest number takes.
const LONGEST: usize = 10;

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, Broken> {
        let (value, length) = varint(self.0)?.ok_or(Broken)?;
        self.0 = self.0.split_at_checked(length).ok_or(Broken)?.1;
        Ok(value)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Broken> {
        let length = usize::try_from(length).map_err(|_| Broken)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Broken)?;
        self.0 = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), Broken> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(Broken),
        };
        Ok((key >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_every_wire_type() {
        let bytes = [
            0x08, 0x96, 0x01, // 1: 150, the example of the specification
            0x12, 0x03, b'a', b'b', b'c', // 2: "abc"
            0x19, 0, 0, 0, 0, 0, 0, 0, 0, // 3: a double
            0x25, 0, 0, 0, 0, // 4: a float
            0xfa, 0x01, 0x00, // 31: ""
        ];
        let fields: Vec<_> = Fields(&bytes).map(Result::unwrap).collect();
        let expected = [(1, Value::Number(150)), (2, Value::Bytes(b"abc")), (3, Value::Fixed), (4, Value::Fixed), (31, Value::Bytes(b""))];
        assert_eq!(fields, expected);
        for end in [1, 2, 4, 6, 10, 19, bytes.len() - 1] {
            assert_eq!(Fields(&bytes[..end]).last(), Some(Err(Broken)), "{end}");
        }
    }

    #[test]
    fn what_is_no_message_ends() {
        for bytes in [&[0x0b][..], &[0xff; 11], &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]] {
            assert_eq!(Fields(bytes).collect::<Vec<_>>(), [Err(Broken)], "{bytes:?}");
        }
    }
}
