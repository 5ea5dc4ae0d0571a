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

bool digit(char c) { return c >= '0' && c <= '9'; }

/* RFC 8259, without recursion: one bit for each level says whether it is an object. */
class JsonReading {
public:
  JsonReading(const char *bytes, size_t length, uint32_t limit)
      : s_(bytes), length_(length), limit_(limit < DEEPEST ? limit : DEEPEST)
  {
  }

  Inspection read()
  {
    for (skip(); at_ < length_; skip()) {
      if (expected_ == Expected::nothing)
        return {Objection::trailing, at_};
      Objection objection = token(s_[at_]);
      if (objection != Objection::none)
        return {objection, at_};
    }
    return {expected_ == Expected::nothing ? Objection::none : Objection::malformed, at_};
  }

private:
  enum class Expected { document, value, value_or_end, name, name_or_end, colon, comma_or_end, nothing };

  void skip()
  {
    while (at_ < length_ && blank(s_[at_]))
      at_++;
  }

  Objection token(char c)
  {
    bool name = expected_ == Expected::name || expected_ == Expected::name_or_end;
    bool value = expected_ == Expected::value || expected_ == Expected::value_or_end;
    bool end = expected_ == Expected::value_or_end || expected_ == Expected::name_or_end ||
               expected_ == Expected::comma_or_end;
    if (c == '{' && (value || expected_ == Expected::document))
      return open(true);
    if (c == '[' && value)
      return open(false);
    if ((c == '}' || c == ']') && end && object() == (c == '}')) {
      at_++;
      depth_--;
      expected_ = depth_ == 0 ? Expected::nothing : Expected::comma_or_end;
      return Objection::none;
    }
    if (c == ',' && expected_ == Expected::comma_or_end)
      return step(object() ? Expected::name : Expected::value);
    if (c == ':' && expected_ == Expected::colon)
      return step(Expected::value);
    if (c == '"' && (name || value))
      return string() ? become(name ? Expected::colon : Expected::comma_or_end) : Objection::malformed;
    if (value && (number() || word("true") || word("false") || word("null")))
      return become(Expected::comma_or_end);
    return Objection::malformed;
  }

  bool object() const { return ((objects_[(depth_ - 1) / 64] >> ((depth_ - 1) % 64)) & 1) != 0; }

  Objection open(bool object)
  {
    if (depth_ == limit_)
      return Objection::depth;
    uint64_t bit = uint64_t{1} << (depth_ % 64);
    objects_[depth_ / 64] = object ? objects_[depth_ / 64] | bit : objects_[depth_ / 64] & ~bit;
    depth_++;
    return step(object ? Expected::name_or_end : Expected::value_or_end);
  }

  Objection step(Expected next)
  {
    at_++;
    return become(next);
  }

  Objection become(Expected next)
  {
    expected_ = next;
    return Objection::none;
  }

  bool word(const char *text)
  {
    size_t n = std::strlen(text);
    if (length_ - at_ < n || std::memcmp(s_ + at_, text, n) != 0)
      return false;
    at_ += n;
    return true;
  }

  size_t digits()
  {
    size_t from = at_;
    while (at_ < length_ && digit(s_[at_]))
      at_++;
    return at_ - from;
  }

  bool next(char c)
  {
    if (at_ == length_ || s_[at_] != c)
      return false;
    at_++;
    return true;
  }

  bool number()
  {
    size_t from = at_;
    next('-');
    bool zero = at_ < length_ && s_[at_] == '0';
    size_t whole = digits();
    bool good = whole > 0 && (!zero || whole == 1);
    if (good && next('.'))
      good = digits() > 0;
    if (good && (next('e') || next('E'))) {
      if (!next('+'))
        next('-');
      good = digits() > 0;
    }
    if (!good)
      at_ = from;
    return good;
  }

  /* Four digits of a code unit; -1 when they are none. */
  int unit()
  {
    if (length_ - at_ < 4)
      return -1;
    int value = 0;
    for (size_t i = 0; i < 4; i++, at_++) {
      char c = s_[at_];
      int n = digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
      if (n < 0)
        return -1;
      value = value * 16 + n;
    }
    return value;
  }

  bool escape()
  {
    if (at_ == length_)
      return false;
    char c = s_[at_++];
    if (c != 'u')
      return std::strchr("\"\\/bfnrt", c) != nullptr && c != '\0';
    int first = unit();
    if (first <= 0 || (first >= 0xdc00 && first <= 0xdfff))
      return false; /* NUL, and half of a pair, are no characters */
    if (first < 0xd800 || first > 0xdbff)
      return true;
    if (!next('\\') || !next('u'))
      return false;
    int second = unit();
    return second >= 0xdc00 && second <= 0xdfff;
  }

  bool string()
  {
    for (at_++; at_ < length_;) {
      char c = s_[at_++];
      if (c == '"')
        return true;
      if (static_cast<unsigned char>(c) < 0x20 || (c == '\\' && !escape()))
        return false;
    }
    return false;
  }

  const char *s_;
  size_t length_;
  uint32_t limit_;
  size_t at_ = 0;
  uint32_t depth_ = 0;
  Expected expected_ = Expected::document;
  uint64_t objects_[DEEPEST / 64 + 1] = {};
};

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
  return format == Format::json ? JsonReading(bytes, length, depth).read() : inspect_xml(bytes, length, depth);
}

} // namespace kedge_yang
