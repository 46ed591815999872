//! As much of protobuf's wire format as aggregates use
//! (<https://protobuf.dev/programming-guides/encoding/>).

use super::Damage;

const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const BYTES: u64 = 2;
const FIXED_32: u64 = 5;

/// The largest field number: 29 bits.
const MAX_FIELD: u64 = (1 << 29) - 1;

/// The fields of a message, in order, each with its number; ends after the first damage.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

/// A field's value.
pub(super) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// 4 or 8 bytes, which no field of an aggregate is.
    Fixed,
}

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), Damage> {
        let tag = self.varint()?;
        let number = tag >> 3;
        if !(1..=MAX_FIELD).contains(&number) {
            return Err(Damage::FieldNumber);
        }
        let value = match tag & 7 {
            VARINT => Value::Varint(self.varint()?),
            BYTES => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            FIXED_64 => self.take(8).map(|_| Value::Fixed)?,
            FIXED_32 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(Damage::WireType),
        };
        Ok((number, value))
    }

    fn varint(&mut self) -> Result<u64, Damage> {
        let mut value = 0;
        for (index, &byte) in self.rest.iter().enumerate() {
            // The tenth byte has room for bit 63 alone.
            if index == 9 && byte > 1 {
                return Err(Damage::Number);
            }
            value |= u64::from(byte & 0x7F) << (7 * index);
            if byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(Damage::Truncated)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Damage> {
        let (taken, rest) = usize::try_from(length)
            .ok()
            .and_then(|length| self.rest.split_at_checked(length))
            .ok_or(Damage::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Writes a number field.
pub(super) fn put_varint_field(out: &mut Vec<u8>, number: u64, value: u64) {
    put_varint(out, number << 3 | VARINT);
    put_varint(out, value);
}

/// Writes a field of bytes.
pub(super) fn put_bytes_field(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    put_bytes_head(out, number, bytes.len());
    out.extend_from_slice(bytes);
}

/// Writes the head of a field of `length` bytes; the bytes themselves come next.
pub(super) fn put_bytes_head(out: &mut Vec<u8>, number: u64, length: usize) {
    put_varint(out, number << 3 | BYTES);
    put_varint(out, length as u64);
}

/// The length of a field of `length` bytes with its head, for field numbers below 16.
pub(super) fn bytes_field_len(length: usize) -> usize {
    let length_bits = (length | 1).ilog2() as usize + 1;
    1 + length_bits.div_ceil(7) + length
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_are_read_as_they_were_written(value: u64, bits in 0..64) {
            let value = value >> bits;
            let mut written = Vec::new();
            put_varint_field(&mut written, 1, value);
            let mut fields = Fields::of(&written);
            prop_assert!(matches!(fields.next(), Some(Ok((1, Value::Varint(read)))) if read == value));
            prop_assert!(fields.next().is_none());
        }

        #[test]
        fn any_bytes_are_read_to_an_end(message in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Fields::of(&message).count() <= message.len());
        }
    }
}
