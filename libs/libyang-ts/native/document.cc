/*
 * Looks over a document once, byte by byte.
 * It must not allocate, recurse, or read behind the end.
 */
#include "document.h"

#include <cstring>

namespace kedge_yang {

namespace {

bool continues(unsigned char byte) { return (byte & 0xc0u) == 0x80u; }

/* Length of the character at `at`; 0 when it is none (overlong, surrogate, beyond U+10FFFF, cut off, NUL). */
size_t character(const unsigned char *s, size_t left)
{
  unsigned char first = s[0];
  if (first == 0)
    return 0;
  if (first < 0x80)
    return 1;
  if (first < 0xc2)
    return 0;
  if (first < 0xe0)
    return left >= 2 && continues(s[1]) ? 2 : 0;
  if (first < 0xf0) {
    if (left < 3 || !continues(s[1]) || !continues(s[2]))
      return 0;
    if ((first == 0xe0 && s[1] < 0xa0) || (first == 0xed && s[1] > 0x9f))
      return 0;
    return 3;
  }
  if (first < 0xf5) {
    if (left < 4 || !continues(s[1]) || !continues(s[2]) || !continues(s[3]))
      return 0;
    if ((first == 0xf0 && s[1] < 0x90) || (first == 0xf4 && s[1] > 0x8f))
      return 0;
    return 4;
  }
  return 0;
}

/* Levels that are counted at all; libyang itself takes 500. */
constexpr uint32_t DEEPEST = 1024;

bool blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

Inspection inspect_json(const char *s, size_t length, uint32_t limit)
{
  /* One bit for each level: an object or a list. */
  uint64_t objects[DEEPEST / 64 + 1] = {};
  uint32_t depth = 0;
  limit = limit < DEEPEST ? limit : DEEPEST;
  bool in_string = false, ended = false;
  for (size_t i = 0; i < length; i++) {
    char c = s[i];
    if (in_string) {
      if (c == '\\')
        i++;
      else if (c == '"')
        in_string = false;
      continue;
    }
    if (blank(c))
      continue;
    if (ended)
      return {Objection::trailing, i};
    if (depth == 0 && c != '{')
      return {Objection::unfinished, i};
    if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (depth == limit)
        return {Objection::depth, i};
      uint64_t bit = uint64_t{1} << (depth % 64);
      objects[depth / 64] = c == '{' ? objects[depth / 64] | bit : objects[depth / 64] & ~bit;
      depth++;
    } else if (c == '}' || c == ']') {
      depth--;
      bool object = ((objects[depth / 64] >> (depth % 64)) & 1) != 0;
      if (object != (c == '}'))
        return {Objection::unfinished, i};
      ended = depth == 0;
    }
  }
  return {ended ? Objection::none : Objection::unfinished, length};
}

/* Where `mark` ends after `at`, or the end. */
size_t behind(const char *s, size_t length, size_t at, const char *mark)
{
  size_t n = std::strlen(mark);
  for (; at + n <= length; at++)
    if (std::memcmp(s + at, mark, n) == 0)
      return at + n;
  return length;
}

bool starts(const char *s, size_t length, size_t at, const char *mark)
{
  size_t n = std::strlen(mark);
  return at + n <= length && std::memcmp(s + at, mark, n) == 0;
}

Inspection inspect_xml(const char *s, size_t length, uint32_t limit)
{
  uint32_t depth = 0;
  for (size_t i = 0; i < length;) {
    if (s[i] != '<') {
      i++;
    } else if (starts(s, length, i, "<!--")) {
      i = behind(s, length, i + 4, "-->");
    } else if (starts(s, length, i, "<![CDATA[")) {
      i = behind(s, length, i + 9, "]]>");
    } else if (starts(s, length, i, "<?")) {
      i = behind(s, length, i + 2, "?>");
    } else if (starts(s, length, i, "</")) {
      if (depth > 0)
        depth--;
      i += 2;
    } else {
      /* A start tag, or something that libyang will refuse. Its end is the first > outside of quotes. */
      size_t at = i + 1;
      char quote = 0;
      for (; at < length && (quote != 0 || s[at] != '>'); at++) {
        if (quote != 0)
          quote = s[at] == quote ? 0 : quote;
        else if (s[at] == '"' || s[at] == '\'')
          quote = s[at];
      }
      bool empty = at < length && at > i + 1 && s[at - 1] == '/';
      if (!empty && ++depth > limit)
        return {Objection::depth, i};
      i = at + (at < length ? 1 : 0);
    }
  }
  return {};
}

} // namespace

size_t first_bad_byte(const char *bytes, size_t length)
{
  const auto *s = reinterpret_cast<const unsigned char *>(bytes);
  size_t i = 0;
  while (i < length) {
    /* Eight plain characters at a time: most documents are nothing else. */
    while (i + 8 <= length) {
      uint64_t word;
      std::memcpy(&word, s + i, 8);
      bool plain = (word & 0x8080808080808080u) == 0;
      bool has_nul = ((word - 0x0101010101010101u) & ~word & 0x8080808080808080u) != 0;
      if (!plain || has_nul)
        break;
      i += 8;
    }
    if (i >= length)
      break;
    size_t n = character(s + i, length - i);
    if (n == 0)
      return i;
    i += n;
  }
  return length;
}

Inspection inspect(const char *bytes, size_t length, Format format, uint32_t depth)
{
  size_t bad = first_bad_byte(bytes, length);
  if (bad < length)
    return {Objection::encoding, bad};
  return format == Format::json ? inspect_json(bytes, length, depth) : inspect_xml(bytes, length, depth);
}

} // namespace kedge_yang
