/*
 * What a document has to be before libyang sees it: UTF-8 without NUL, whole, and nested no deeper than allowed.
 * It must not know libyang, nor judge what the document says.
 */
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace kedge_yang {

enum class Format { json, xml };

/* Why a document is refused. */
enum class Objection { none, encoding, depth, malformed, trailing };

struct Inspection {
  Objection objection = Objection::none;
  size_t at = 0; /* byte at which it shows */
};

/*
 * JSON has to be one object as RFC 8259 writes it: libyang takes what is cut off or has something behind its end, and
 * leaks nodes of messages that are not well-formed. Of XML, where libyang looks closely, nesting is counted: never less
 * than a parser would see.
 */
Inspection inspect(const char *bytes, size_t length, Format format, uint32_t depth);

/* Byte of the first thing that is not UTF-8 (RFC 3629) or NUL; `length` when there is none. */
size_t first_bad_byte(const char *bytes, size_t length);

} // namespace kedge_yang
