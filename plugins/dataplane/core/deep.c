/*
 * The implementation of deep.h.
 *
 * It must not read a byte that it was not given, nor take a length as true before it fits into the one around it.
 */
#include "deep.h"

#include <string.h>

static inline uint16_t be16(const uint8_t *p) { return (uint16_t)((unsigned)p[0] << 8 | p[1]); }
static inline uint32_t be32(const uint8_t *p) { return (uint32_t)be16(p) << 16 | be16(p + 2); }
static inline bool is_printable(uint8_t c) { return c >= '!' && c <= '~'; }
static inline size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* ------------------------------------------------------------------- names */

static void name_put(struct kedge_deep_name *name, char c)
{
  if (name->bytes == KEDGE_FLOW_NAME_BYTES) {
    memmove(name->text, name->text + 1, KEDGE_FLOW_NAME_BYTES - 1);
    name->bytes--;
    name->cut = 1;
  }
  name->text[name->bytes++] = c;
}

static void name_clear(struct kedge_deep_name *name)
{
  name->bytes = 0;
  name->cut = 0;
}

/* A byte of a DNS label in RFC 4343's presentation. */
static void name_put_label(struct kedge_deep_name *name, uint8_t c)
{
  if (!is_printable(c)) {
    name_put(name, '\\');
    name_put(name, (char)('0' + c / 100));
    name_put(name, (char)('0' + c / 10 % 10));
    name_put(name, (char)('0' + c % 10));
    return;
  }
  if (c == '.' || c == '\\')
    name_put(name, '\\');
  name_put(name, (char)c);
}

/* ----------------------------------------------------------------- streams */

/* Bytes left of what a recogniser was given. */
struct input {
  const uint8_t *at;
  size_t left;
};

/* Takes a big-endian number of `width` bytes, over any cuts; true when it is whole. */
static bool take_number(struct kedge_deep_stream *s, struct input *in, unsigned width)
{
  while (in->left > 0 && s->got < width) {
    s->number = (s->got == 0 ? 0 : s->number << 8) | *in->at++;
    in->left--;
    s->got++;
  }
  if (s->got < width)
    return false;
  s->got = 0;
  return true;
}

/* Passes over what is left of the item; true when it is behind us. */
static bool skip_item(struct kedge_deep_stream *s, struct input *in)
{
  size_t n = least(in->left, s->item);
  in->at += n;
  in->left -= n;
  s->item = (uint16_t)(s->item - n);
  return s->item == 0;
}

/* What refutes an application that is certain already only ends the search for its name. */
static enum kedge_deep_result refuted(const struct kedge_deep_stream *s, struct kedge_deep_name *name)
{
  if (s->certain == 0)
    return KEDGE_DEEP_NO;
  name_clear(name);
  return KEDGE_DEEP_YES;
}

/* -------------------------------------------- TLS: RFC 8446 and its elders */

#define TLS_HANDSHAKE 22u
#define TLS_CLIENT_HELLO 1u
#define TLS_SERVER_HELLO 2u
#define TLS_RECORD_MOST 16384u
#define TLS_HELLO_MOST 65535u
#define TLS_SERVER_NAME 0u
#define TLS_NAME_MOST 255u

enum tls_step {
  TLS_TYPE,
  TLS_LENGTH,
  TLS_VERSION,
  TLS_RANDOM,
  TLS_SESSION_LENGTH,
  TLS_SESSION,
  TLS_CIPHERS_LENGTH,
  TLS_CIPHERS,
  TLS_COMPRESSION_LENGTH,
  TLS_COMPRESSION,
  TLS_EXTENSIONS_LENGTH,
  TLS_EXTENSION_TYPE,
  TLS_EXTENSION_LENGTH,
  TLS_EXTENSION,
  TLS_NAMES_LENGTH,
  TLS_NAME_TYPE,
  TLS_NAME_LENGTH,
  TLS_NAME
};

/*
 * One step of a hello inside one record. MORE: go on, or the bytes are used up. A length is held against
 * `message`, which is counted down by the caller and here still includes the bytes of `in` that were taken.
 */
static enum kedge_deep_result tls_step(struct kedge_deep_stream *s, struct input *in, uint32_t before,
                                       struct kedge_deep_name *name)
{
  static const uint8_t WIDTH[] = {[TLS_TYPE] = 1,           [TLS_LENGTH] = 3,
                                  [TLS_VERSION] = 2,        [TLS_SESSION_LENGTH] = 1,
                                  [TLS_CIPHERS_LENGTH] = 2, [TLS_COMPRESSION_LENGTH] = 1,
                                  [TLS_EXTENSIONS_LENGTH] = 2, [TLS_EXTENSION_TYPE] = 2,
                                  [TLS_EXTENSION_LENGTH] = 2, [TLS_NAMES_LENGTH] = 2,
                                  [TLS_NAME_TYPE] = 1,      [TLS_NAME_LENGTH] = 2,
                                  [TLS_NAME] = 0};
  size_t given = in->left;
  if (WIDTH[s->step] != 0 && !take_number(s, in, WIDTH[s->step]))
    return KEDGE_DEEP_MORE;
  uint32_t value = s->number;
  /* What the message still holds behind the number that was just read. */
  uint32_t rest = before - (uint32_t)least(given - in->left, before);
  switch ((enum tls_step)s->step) {
  case TLS_TYPE:
    if (value != TLS_CLIENT_HELLO && value != TLS_SERVER_HELLO)
      return refuted(s, name);
    s->total = (uint8_t)value;
    s->step = TLS_LENGTH;
    return KEDGE_DEEP_MORE;
  case TLS_LENGTH:
    if (value < 38 || value > TLS_HELLO_MOST)
      return refuted(s, name);
    s->message = value;
    s->step = TLS_VERSION;
    return KEDGE_DEEP_MORE;
  case TLS_VERSION:
    if (value < 0x0300 || value > 0x0303)
      return refuted(s, name);
    s->item = 32;
    s->step = TLS_RANDOM;
    return KEDGE_DEEP_MORE;
  case TLS_RANDOM:
    if (skip_item(s, in))
      s->step = TLS_SESSION_LENGTH;
    return KEDGE_DEEP_MORE;
  case TLS_SESSION_LENGTH:
    if (value > 32 || value > rest)
      return refuted(s, name);
    s->item = (uint16_t)value;
    s->step = TLS_SESSION;
    return KEDGE_DEEP_MORE;
  case TLS_SESSION:
    if (skip_item(s, in))
      s->step = TLS_CIPHERS_LENGTH;
    return KEDGE_DEEP_MORE;
  case TLS_CIPHERS_LENGTH:
    if (s->total == TLS_SERVER_HELLO) {
      /* The suite that was chosen; compression follows. */
      s->step = TLS_COMPRESSION_LENGTH;
      return KEDGE_DEEP_MORE;
    }
    if (value < 2 || value % 2 != 0 || value > rest)
      return refuted(s, name);
    s->item = (uint16_t)value;
    s->step = TLS_CIPHERS;
    return KEDGE_DEEP_MORE;
  case TLS_CIPHERS:
    if (skip_item(s, in))
      s->step = TLS_COMPRESSION_LENGTH;
    return KEDGE_DEEP_MORE;
  case TLS_COMPRESSION_LENGTH:
    if (s->total == TLS_SERVER_HELLO) {
      if (value > 1)
        return refuted(s, name);
      s->certain = 1;
      return KEDGE_DEEP_YES;
    }
    if (value == 0 || value > rest)
      return refuted(s, name);
    s->item = (uint16_t)value;
    s->step = TLS_COMPRESSION;
    return KEDGE_DEEP_MORE;
  case TLS_COMPRESSION:
    if (!skip_item(s, in))
      return KEDGE_DEEP_MORE;
    s->certain = 1;
    s->step = TLS_EXTENSIONS_LENGTH;
    rest = before - (uint32_t)least(given - in->left, before);
    return rest == 0 ? KEDGE_DEEP_YES : KEDGE_DEEP_MORE;
  case TLS_EXTENSIONS_LENGTH:
    if (value != rest)
      return refuted(s, name);
    s->step = TLS_EXTENSION_TYPE;
    return rest == 0 ? KEDGE_DEEP_YES : KEDGE_DEEP_MORE;
  case TLS_EXTENSION_TYPE:
    s->total = value == TLS_SERVER_NAME ? 0 : 1;
    s->step = TLS_EXTENSION_LENGTH;
    return KEDGE_DEEP_MORE;
  case TLS_EXTENSION_LENGTH:
    if (value > rest)
      return refuted(s, name);
    s->item = (uint16_t)value;
    s->step = s->total == 0 ? TLS_NAMES_LENGTH : TLS_EXTENSION;
    return rest == 0 ? KEDGE_DEEP_YES : KEDGE_DEEP_MORE;
  case TLS_EXTENSION:
    if (!skip_item(s, in))
      return KEDGE_DEEP_MORE;
    s->step = TLS_EXTENSION_TYPE;
    rest = before - (uint32_t)least(given - in->left, before);
    return rest == 0 ? KEDGE_DEEP_YES : KEDGE_DEEP_MORE;
  case TLS_NAMES_LENGTH:
    if (s->item < 2 || value + 2 != s->item)
      return refuted(s, name);
    s->step = TLS_NAME_TYPE;
    return KEDGE_DEEP_MORE;
  case TLS_NAME_TYPE:
    if (value != 0)
      return refuted(s, name);
    s->step = TLS_NAME_LENGTH;
    return KEDGE_DEEP_MORE;
  case TLS_NAME_LENGTH:
    /* One name of the one type there is (RFC 6066). */
    if (value == 0 || value > TLS_NAME_MOST || value + 5 != s->item)
      return refuted(s, name);
    s->item = (uint16_t)value;
    s->step = TLS_NAME;
    return KEDGE_DEEP_MORE;
  case TLS_NAME:
    for (; in->left > 0 && s->item > 0; in->at++, in->left--, s->item--) {
      if (!is_printable(*in->at))
        return refuted(s, name);
      name_put(name, (char)*in->at);
    }
    return s->item == 0 ? KEDGE_DEEP_YES : KEDGE_DEEP_MORE;
  }
  return refuted(s, name);
}

static enum kedge_deep_result tls_read(struct kedge_deep_stream *s, struct input *in, struct kedge_deep_name *name)
{
  while (in->left > 0) {
    if (s->record == 0) {
      /* A record's header. Its bytes are counted in `words`, because a number inside may be half read. */
      uint8_t c = *in->at++;
      in->left--;
      switch (s->words++) {
      case 0:
        if (c != TLS_HANDSHAKE)
          return refuted(s, name);
        break;
      case 1:
        if (c != 3)
          return refuted(s, name);
        break;
      case 2:
        if (c > 4)
          return refuted(s, name);
        break;
      case 3:
        if (c > TLS_RECORD_MOST >> 8)
          return refuted(s, name);
        s->high = c;
        break;
      default:
        s->record = (uint16_t)((unsigned)s->high << 8 | c);
        s->words = 0;
        if (s->record == 0 || s->record > TLS_RECORD_MOST)
          return refuted(s, name);
      }
      continue;
    }
    bool counted = s->step > TLS_LENGTH;
    if (counted && s->message == 0)
      return refuted(s, name);
    struct input inside = {in->at, least(in->left, s->record)};
    if (counted)
      inside.left = least(inside.left, s->message);
    size_t given = inside.left;
    enum kedge_deep_result result = tls_step(s, &inside, s->message, name);
    size_t taken = given - inside.left;
    in->at += taken;
    in->left -= taken;
    s->record = (uint16_t)(s->record - taken);
    if (counted)
      s->message -= (uint32_t)taken;
    if (result != KEDGE_DEEP_MORE)
      return result;
  }
  return KEDGE_DEEP_MORE;
}

/* ------------------------------------------------- DNS: RFC 1035, 4343, 7766 */

enum dns_step {
  DNS_LENGTH,
  DNS_ID,
  DNS_FLAGS,
  DNS_QUESTIONS,
  DNS_ANSWERS,
  DNS_AUTHORITY,
  DNS_ADDITIONAL,
  DNS_LABEL,
  DNS_TEXT,
  DNS_TYPE,
  DNS_CLASS
};

#define DNS_SHORTEST 17u    /* header, the root, type and class */
#define DNS_RECORD_LEAST 11u
#define DNS_NAME_MOST 255u
#define DNS_RESPONSE 0x8000u
#define DNS_TRUNCATED 0x0200u

static bool dns_flags_hold(unsigned flags)
{
  unsigned operation = flags >> 11 & 15u;
  /* Query, notify, update; the reserved bit is zero. */
  if ((operation != 0 && operation != 4 && operation != 5) || (flags & 0x0040u) != 0)
    return false;
  return (flags & DNS_RESPONSE) != 0 ? (flags & 15u) <= 11 : (flags & 0x028fu) == 0;
}

static bool dns_class_holds(unsigned class)
{
  class &= 0x7fffu; /* multicast DNS asks for a unicast answer by the top bit (RFC 6762) */
  return class == 1 || class == 3 || class == 4 || class == 254 || class == 255;
}

/* The question is whole: what follows must be able to hold the records that were announced. */
static enum kedge_deep_result dns_end(const struct kedge_deep_stream *s)
{
  if (s->message == 0)
    return s->record == 0 ? KEDGE_DEEP_YES : KEDGE_DEEP_NO;
  if (s->message > 1024)
    return KEDGE_DEEP_NO;
  bool truncated = (s->words & DNS_TRUNCATED) != 0;
  return truncated || s->message * DNS_RECORD_LEAST <= s->record ? KEDGE_DEEP_YES : KEDGE_DEEP_NO;
}

static enum kedge_deep_result dns_read(struct kedge_deep_stream *s, struct input *in, struct kedge_deep_name *name)
{
  static const uint8_t WIDTH[] = {[DNS_LENGTH] = 2,    [DNS_ID] = 2,         [DNS_FLAGS] = 2, [DNS_QUESTIONS] = 2,
                                  [DNS_ANSWERS] = 2,   [DNS_AUTHORITY] = 2,  [DNS_ADDITIONAL] = 2,
                                  [DNS_LABEL] = 1,     [DNS_TEXT] = 0,       [DNS_TYPE] = 2,  [DNS_CLASS] = 2};
  while (in->left > 0) {
    if (s->step != DNS_LENGTH && s->record == 0)
      return KEDGE_DEEP_NO;
    struct input inside = {in->at, s->step == DNS_LENGTH ? in->left : least(in->left, s->record)};
    size_t given = inside.left;
    bool whole = WIDTH[s->step] == 0 || take_number(s, &inside, WIDTH[s->step]);
    if (s->step == DNS_TEXT) {
      for (; inside.left > 0 && s->item > 0; inside.at++, inside.left--, s->item--)
        name_put_label(name, *inside.at);
      whole = s->item == 0;
    }
    size_t taken = given - inside.left;
    in->at += taken;
    in->left -= taken;
    if (s->step != DNS_LENGTH)
      s->record = (uint16_t)(s->record - taken);
    if (!whole)
      continue;
    uint32_t value = s->number;
    switch ((enum dns_step)s->step) {
    case DNS_LENGTH:
      if (value < DNS_SHORTEST)
        return KEDGE_DEEP_NO;
      s->record = (uint16_t)value;
      s->step = DNS_ID;
      break;
    case DNS_ID: s->step = DNS_FLAGS; break;
    case DNS_FLAGS:
      if (!dns_flags_hold(value))
        return KEDGE_DEEP_NO;
      s->words = (uint16_t)value;
      s->step = DNS_QUESTIONS;
      break;
    case DNS_QUESTIONS:
      if (value != 1)
        return KEDGE_DEEP_NO;
      s->step = DNS_ANSWERS;
      break;
    case DNS_ANSWERS:
    case DNS_AUTHORITY:
    case DNS_ADDITIONAL:
      /* A question brings next to no records along: one of a transfer or a notice, EDNS, a signature. */
      if ((s->words & DNS_RESPONSE) == 0 && s->words >> 11 != 5 && value > (s->step == DNS_ADDITIONAL ? 3u : 1u))
        return KEDGE_DEEP_NO;
      s->message += value;
      s->step++;
      break;
    case DNS_LABEL:
      s->total = (uint8_t)(s->total + (value <= 63 ? value + 1 : 0));
      /* A pointer cannot stand in a question: there is nothing before it to point at. */
      if (value > 63 || s->total < value + 1)
        return KEDGE_DEEP_NO;
      if (value == 0) {
        if (s->total == 1)
          name_put(name, '.');
        s->step = DNS_TYPE;
        break;
      }
      if (s->total != value + 1)
        name_put(name, '.');
      s->item = (uint16_t)value;
      s->step = DNS_TEXT;
      break;
    case DNS_TEXT: s->step = DNS_LABEL; break;
    case DNS_TYPE:
      if (value == 0)
        return KEDGE_DEEP_NO;
      s->step = DNS_CLASS;
      break;
    case DNS_CLASS:
      if (!dns_class_holds(value))
        return KEDGE_DEEP_NO;
      if (dns_end(s) == KEDGE_DEEP_NO)
        return KEDGE_DEEP_NO;
      s->certain = 1;
      return KEDGE_DEEP_YES;
    }
  }
  return KEDGE_DEEP_MORE;
}

/* ------------------------------------- words: HTTP/1 (RFC 9112), SSH (RFC 4253) */

enum word_step {
  WORD_FIRST,
  WORD_TARGET,
  WORD_VERSION,
  WORD_MINOR,
  WORD_LINE_END,
  WORD_FIELD,
  WORD_SKIP,
  WORD_SPACE,
  WORD_HOST,
  WORD_STATUS_MINOR,
  WORD_STATUS,
  WORD_BANNER
};

#define HTTP_HEAD_MOST 8192u

/* What a stream of words begins with. The first is a response, the next two are SSH, all others are requests. */
static const char *const WORD[] = {"HTTP/1.",  "SSH-2.0-", "SSH-1.99-", "GET ",   "POST ",     "HEAD ",
                                   "PUT ",     "DELETE ",  "OPTIONS ",  "PATCH ", "CONNECT ",  "TRACE ",
                                   "PROPFIND ", "REPORT ", "MKCOL ",    "SEARCH "};
#define WORDS (sizeof(WORD) / sizeof(WORD[0]))
#define WORD_RESPONSE 0u
#define WORD_SSH_LAST 2u

/* One byte of the first word. */
static enum kedge_deep_result word_first(struct kedge_deep_stream *s, uint8_t c)
{
  if (s->got == 0)
    s->words = 0xffffu;
  unsigned at = s->got++;
  for (unsigned w = 0; w < WORDS; w++) {
    if ((s->words >> w & 1u) == 0)
      continue;
    if ((uint8_t)WORD[w][at] != c) {
      s->words = (uint16_t)(s->words & ~(1u << w));
    } else if (WORD[w][at + 1] == '\0') {
      s->got = 0;
      s->step = w == WORD_RESPONSE ? WORD_STATUS_MINOR : w <= WORD_SSH_LAST ? WORD_BANNER : WORD_TARGET;
      s->application = w > WORD_RESPONSE && w <= WORD_SSH_LAST ? KEDGE_APPLICATION_SSH : KEDGE_APPLICATION_HTTP;
      return KEDGE_DEEP_MORE;
    }
  }
  return s->words == 0 ? KEDGE_DEEP_NO : KEDGE_DEEP_MORE;
}

static enum kedge_deep_result word_step(struct kedge_deep_stream *s, uint8_t c, struct kedge_deep_name *name)
{
  static const char VERSION[] = "HTTP/1.", HOST[] = "host:";
  switch ((enum word_step)s->step) {
  case WORD_FIRST: return word_first(s, c);
  case WORD_TARGET:
    if (c == ' ' && s->got != 0) {
      s->got = 0;
      s->step = WORD_VERSION;
      return KEDGE_DEEP_MORE;
    }
    s->got = 1;
    return is_printable(c) ? KEDGE_DEEP_MORE : KEDGE_DEEP_NO;
  case WORD_VERSION:
    if ((uint8_t)VERSION[s->got++] != c)
      return KEDGE_DEEP_NO;
    if (VERSION[s->got] == '\0')
      s->step = WORD_MINOR;
    return KEDGE_DEEP_MORE;
  case WORD_MINOR:
    s->step = WORD_LINE_END;
    s->got = 0;
    return c == '0' || c == '1' ? KEDGE_DEEP_MORE : KEDGE_DEEP_NO;
  case WORD_LINE_END:
    if (c == '\r' && s->got++ == 0)
      return KEDGE_DEEP_MORE;
    if (c != '\n')
      return KEDGE_DEEP_NO;
    s->certain = 1;
    s->got = 0;
    s->step = WORD_FIELD;
    return KEDGE_DEEP_MORE;
  case WORD_FIELD:
    if (s->got == 0 && (c == '\r' || c == '\n'))
      return KEDGE_DEEP_YES;
    if ((uint8_t)HOST[s->got] != (c | 0x20u)) {
      s->got = 0;
      s->step = c == '\n' ? WORD_FIELD : WORD_SKIP;
    } else if (HOST[++s->got] == '\0') {
      s->step = WORD_SPACE;
    }
    return KEDGE_DEEP_MORE;
  case WORD_SKIP:
    if (c == '\n')
      s->step = WORD_FIELD;
    return KEDGE_DEEP_MORE;
  case WORD_SPACE:
    if (c == ' ' || c == '\t')
      return KEDGE_DEEP_MORE;
    s->step = WORD_HOST;
    /* fall through */
  case WORD_HOST:
    if (c == '\r' || c == '\n' || c == ' ' || c == '\t')
      return KEDGE_DEEP_YES;
    if (!is_printable(c))
      return refuted(s, name);
    name_put(name, (char)c);
    return KEDGE_DEEP_MORE;
  case WORD_STATUS_MINOR:
    s->step = WORD_STATUS;
    s->got = 0;
    return c == '0' || c == '1' ? KEDGE_DEEP_MORE : KEDGE_DEEP_NO;
  case WORD_STATUS: {
    unsigned at = s->got++;
    if (at == 0)
      return c == ' ' ? KEDGE_DEEP_MORE : KEDGE_DEEP_NO;
    if (at <= 3)
      return c >= (at == 1 ? '1' : '0') && c <= (at == 1 ? '5' : '9') ? KEDGE_DEEP_MORE : KEDGE_DEEP_NO;
    s->certain = c == ' ' || c == '\r' || c == '\n';
    return s->certain != 0 ? KEDGE_DEEP_YES : KEDGE_DEEP_NO;
  }
  case WORD_BANNER:
    s->certain = is_printable(c);
    return s->certain != 0 ? KEDGE_DEEP_YES : KEDGE_DEEP_NO;
  }
  return refuted(s, name);
}

static enum kedge_deep_result word_read(struct kedge_deep_stream *s, struct input *in, struct kedge_deep_name *name)
{
  while (in->left > 0) {
    size_t n = 1;
    if (s->step == WORD_SKIP) {
      const uint8_t *end = memchr(in->at, '\n', in->left);
      n = end == NULL ? in->left : (size_t)(end - in->at) + 1;
    }
    enum kedge_deep_result result = word_step(s, in->at[n - 1], name);
    in->at += n;
    in->left -= n;
    s->message += (uint32_t)n;
    if (result != KEDGE_DEEP_MORE)
      return result;
    if (s->message > HTTP_HEAD_MOST)
      return refuted(s, name);
  }
  return KEDGE_DEEP_MORE;
}

/* ----------------------------------------------------- BGP: RFC 4271, 2918, 8654 */

enum bgp_step { BGP_MARKER, BGP_LENGTH, BGP_TYPE, BGP_VERSION };

static enum kedge_deep_result bgp_read(struct kedge_deep_stream *s, struct input *in)
{
  while (in->left > 0) {
    switch ((enum bgp_step)s->step) {
    case BGP_MARKER:
      if (*in->at != 0xff)
        return KEDGE_DEEP_NO;
      in->at++;
      in->left--;
      if (++s->got == 16) {
        s->got = 0;
        s->step = BGP_LENGTH;
      }
      break;
    case BGP_LENGTH:
      if (!take_number(s, in, 2))
        break;
      if (s->number < 19)
        return KEDGE_DEEP_NO;
      s->record = (uint16_t)s->number;
      s->step = BGP_TYPE;
      break;
    case BGP_TYPE: {
      /* The shortest of each type: open, update, notification, keepalive, route refresh. */
      static const uint8_t SHORTEST[] = {0, 29, 23, 21, 19, 23};
      if (!take_number(s, in, 1))
        break;
      uint32_t type = s->number;
      if (type == 0 || type >= sizeof(SHORTEST) || s->record < SHORTEST[type])
        return KEDGE_DEEP_NO;
      /* Only an update, a notification or a refresh may be longer than 4,096. */
      if ((type == 4 && s->record != 19) || (type == 1 && s->record > 4096))
        return KEDGE_DEEP_NO;
      if (type == 1) {
        s->step = BGP_VERSION;
        break;
      }
      s->certain = 1;
      return KEDGE_DEEP_YES;
    }
    case BGP_VERSION:
      if (*in->at != 4)
        return KEDGE_DEEP_NO;
      s->certain = 1;
      return KEDGE_DEEP_YES;
    }
  }
  return KEDGE_DEEP_MORE;
}

/* The first byte leaves one candidate, so one small state is enough for all. */
static enum kedge_application candidate_of(uint8_t first)
{
  if (first == TLS_HANDSHAKE)
    return KEDGE_APPLICATION_TLS;
  if (first == 0xff)
    return KEDGE_APPLICATION_BGP;
  if (first >= 'A' && first <= 'Z')
    return KEDGE_APPLICATION_HTTP;
  /* The upper byte of a DNS message's length: those of 4 KiB and more are known by their question already. */
  return first < 0x10 ? KEDGE_APPLICATION_DNS : KEDGE_APPLICATION_UNKNOWN;
}

enum kedge_deep_result kedge_deep_read(struct kedge_deep_stream *s, const uint8_t *bytes, size_t length,
                                       struct kedge_deep_name *name)
{
  struct input in = {bytes, length};
  if (length == 0)
    return KEDGE_DEEP_MORE;
  if (s->application == KEDGE_APPLICATION_UNKNOWN) {
    name_clear(name);
    s->application = (uint8_t)candidate_of(bytes[0]);
  }
  switch ((enum kedge_application)s->application) {
  case KEDGE_APPLICATION_TLS: return tls_read(s, &in, name);
  case KEDGE_APPLICATION_DNS: return dns_read(s, &in, name);
  case KEDGE_APPLICATION_BGP: return bgp_read(s, &in);
  case KEDGE_APPLICATION_HTTP:
  case KEDGE_APPLICATION_SSH: return word_read(s, &in, name);
  default: return KEDGE_DEEP_NO;
  }
}

/* --------------------------------------------------------------- datagrams */

static bool is_dns(const uint8_t *p, size_t n, struct kedge_deep_name *name)
{
  if (n < DNS_SHORTEST || n > UINT16_MAX)
    return false;
  struct kedge_deep_stream s = {.application = KEDGE_APPLICATION_DNS, .step = DNS_ID, .record = (uint16_t)n};
  return kedge_deep_read(&s, p, n, name) == KEDGE_DEEP_YES;
}

/* WireGuard's four messages; its three reserved bytes are zero. */
static bool is_wireguard(const uint8_t *p, size_t n)
{
  if (n < 32 || p[1] != 0 || p[2] != 0 || p[3] != 0)
    return false;
  switch (p[0]) {
  case 1: return n == 148;
  case 2: return n == 92;
  case 3: return n == 64;
  /* A counter that nobody has reached: the protocol gives a key up long before. */
  case 4: return n % 16 == 0 && p[14] == 0 && p[15] == 0;
  default: return false;
  }
}

/* NTP (RFC 5905): client, server, symmetric and broadcast messages, with what may follow them. */
static bool is_ntp(const uint8_t *p, size_t n)
{
  if (n < 48)
    return false;
  unsigned version = p[0] >> 3 & 7u, mode = p[0] & 7u;
  int8_t precision = (int8_t)p[3];
  if (version < 1 || version > 4 || mode < 1 || mode > 5 || p[1] > 16 || p[2] > 24)
    return false;
  /* Clients that tell nothing about themselves send 32 or 0 for the precision. */
  if (precision > 0 ? precision != 32 : precision < -32)
    return false;
  /* Root delay and dispersion up to 16 s, which is "infinite"; the delay may be a little negative. */
  uint32_t delay = be32(p + 4), dispersion = be32(p + 8);
  if ((delay > 0x100000u && delay < 0xfff00000u) || dispersion > 0x100000u)
    return false;
  if (be32(p + 40) == 0 && be32(p + 44) == 0)
    return false;
  /* Extension fields (RFC 7822), then nothing or a message authentication code. */
  size_t at = 48;
  while (n - at >= 28) {
    size_t field = be16(p + at + 2);
    if (field < 16 || field % 4 != 0 || field > n - at)
      return false;
    at += field;
  }
  size_t rest = n - at;
  return rest == 0 || rest == 4 || rest == 20 || rest == 24 || (rest >= 16 && be16(p + at + 2) == rest);
}

/* One BER element of SNMP's (RFC 3416): its tag must be `tag`, `in` moves behind its head; the content's length. */
static bool ber_head(struct input *in, uint8_t tag, size_t *content)
{
  if (in->left < 2 || in->at[0] != tag)
    return false;
  size_t length = in->at[1], width = 0;
  if (length >= 0x80) {
    width = length & 0x7fu;
    if (width == 0 || width > 4 || in->left < 2 + width)
      return false;
    length = 0;
    for (size_t i = 0; i < width; i++)
      length = length << 8 | in->at[2 + i];
  }
  in->at += 2 + width;
  in->left -= 2 + width;
  *content = length;
  return length <= in->left;
}

/* Passes over an element whose content has `from` to `to` bytes. */
static bool ber_skip(struct input *in, uint8_t tag, size_t from, size_t to)
{
  size_t length;
  if (!ber_head(in, tag, &length) || length < from || length > to)
    return false;
  in->at += length;
  in->left -= length;
  return true;
}

#define BER_INTEGER 0x02u
#define BER_OCTETS 0x04u
#define BER_OBJECT 0x06u
#define BER_SEQUENCE 0x30u
#define SNMP_TRAP_1 0xa4u

static bool is_snmp(const uint8_t *p, size_t n)
{
  struct input in = {p, n};
  size_t length;
  if (!ber_head(&in, BER_SEQUENCE, &length) || length != in.left)
    return false;
  if (in.left < 3 || in.at[0] != BER_INTEGER || in.at[1] != 1)
    return false;
  uint8_t version = in.at[2];
  in.at += 3;
  in.left -= 3;
  if (version == 3) {
    struct input header;
    if (!ber_head(&in, BER_SEQUENCE, &length))
      return false;
    header = (struct input){in.at, length};
    in.at += length;
    in.left -= length;
    if (!ber_skip(&header, BER_INTEGER, 1, 5) || !ber_skip(&header, BER_INTEGER, 1, 5) ||
        !ber_skip(&header, BER_OCTETS, 1, 1) || !ber_skip(&header, BER_INTEGER, 1, 4) || header.left != 0 ||
        !ber_skip(&in, BER_OCTETS, 0, n))
      return false;
    /* The message in clear, or encrypted. */
    return ber_head(&in, in.left > 0 && in.at[0] == BER_OCTETS ? BER_OCTETS : BER_SEQUENCE, &length) &&
           length == in.left;
  }
  if (version > 1 || !ber_skip(&in, BER_OCTETS, 0, 255) || in.left == 0)
    return false;
  uint8_t kind = in.at[0];
  if (kind < 0xa0 || kind > 0xa8 || !ber_head(&in, kind, &length) || length != in.left)
    return false;
  if (kind == SNMP_TRAP_1)
    return version == 0 && ber_skip(&in, BER_OBJECT, 1, 128);
  return ber_skip(&in, BER_INTEGER, 1, 5) && ber_skip(&in, BER_INTEGER, 1, 4) && ber_skip(&in, BER_INTEGER, 1, 4) &&
         ber_head(&in, BER_SEQUENCE, &length) && length == in.left;
}

#define QUIC_1 0x00000001u
#define QUIC_2 0x6b3343cfu
#define QUIC_ID_MOST 20u

/* A variable-length integer (RFC 9000 §16); false where it is not whole. */
static bool quic_number(struct input *in, uint64_t *value)
{
  size_t width = in->left == 0 ? 0 : (size_t)1 << (in->at[0] >> 6);
  if (width == 0 || width > in->left)
    return false;
  *value = in->at[0] & 0x3fu;
  for (size_t i = 1; i < width; i++)
    *value = *value << 8 | in->at[i];
  in->at += width;
  in->left -= width;
  return true;
}

static bool quic_id(struct input *in)
{
  size_t length = in->left == 0 ? SIZE_MAX : in->at[0];
  if (length > QUIC_ID_MOST || in->left < length + 1)
    return false;
  in->at += length + 1;
  in->left -= length + 1;
  return true;
}

/* QUIC's long header (RFC 8999, 9000, 9369). A short one tells nothing by itself: only its flow does. */
static bool is_quic(const uint8_t *p, size_t n)
{
  if (n < 11 || (p[0] & 0x80u) == 0)
    return false;
  uint32_t version = be32(p + 1);
  struct input in = {p + 5, n - 5};
  if ((version != 0 && version != QUIC_1 && version != QUIC_2) || !quic_id(&in) || !quic_id(&in))
    return false;
  if (version == 0) {
    /* Version negotiation: whole versions, one of them known. */
    if (in.left == 0 || in.left % 4 != 0 || in.left > 256)
      return false;
    for (; in.left > 0; in.at += 4, in.left -= 4)
      if (be32(in.at) == QUIC_1 || be32(in.at) == QUIC_2)
        return true;
    return false;
  }
  if ((p[0] & 0x40u) == 0)
    return false;
  /* Initial, 0-RTT, Handshake, Retry; version 2 counts them from Retry on. */
  unsigned type = ((p[0] >> 4 & 3u) + (version == QUIC_2 ? 3u : 0u)) % 4u;
  uint64_t length;
  if (type == 3)
    return in.left >= 16;
  if (type == 0) {
    if (!quic_number(&in, &length) || length > in.left)
      return false;
    in.at += length;
    in.left -= (size_t)length;
  }
  /* Packet number, sample and tag make at least 20 bytes. */
  return quic_number(&in, &length) && length >= 20 && length <= in.left;
}

enum kedge_application kedge_deep_datagram(const uint8_t *bytes, size_t length, struct kedge_deep_name *name)
{
  name_clear(name);
  if (is_dns(bytes, length, name))
    return KEDGE_APPLICATION_DNS;
  name_clear(name);
  if (is_snmp(bytes, length))
    return KEDGE_APPLICATION_SNMP;
  if (is_quic(bytes, length))
    return KEDGE_APPLICATION_QUIC;
  if (is_wireguard(bytes, length))
    return KEDGE_APPLICATION_WIREGUARD;
  return is_ntp(bytes, length) ? KEDGE_APPLICATION_NTP : KEDGE_APPLICATION_UNKNOWN;
}

/* ----------------------------------------------------------- conversations */

static void one_more_try(struct kedge_deep *d, unsigned most)
{
  if (++d->tries >= most)
    d->done = 1;
}

/* Takes over what a stream has come to. */
static void conclude(struct kedge_deep *d, enum kedge_deep_result result, struct kedge_deep_name *name)
{
  if (d->stream.certain != 0)
    d->application = d->stream.application;
  if (result == KEDGE_DEEP_MORE)
    return;
  d->reading = 0;
  if (d->application != KEDGE_APPLICATION_UNKNOWN)
    d->done = 1;
  else
    name_clear(name);
}

void kedge_deep_segment(struct kedge_deep *d, unsigned direction, uint32_t sequence, bool synchronises,
                        const uint8_t *bytes, size_t length, struct kedge_deep_name *name)
{
  if (synchronises) {
    sequence++;
    d->next[direction] = sequence;
    d->follows[direction] = 1;
  }
  if (length == 0 || d->done != 0)
    return;
  if (d->follows[direction] != 0) {
    int32_t ahead = (int32_t)(sequence - d->next[direction]);
    if (ahead > 0 && d->gaps < KEDGE_DEEP_GAPS) {
      d->gaps++;
      return;
    }
    if (ahead > 0 && d->reading == direction + 1u) {
      /* What is missing does not come any more. */
      if (d->stream.certain != 0)
        name_clear(name);
      conclude(d, KEDGE_DEEP_NO, name);
      if (d->done == 0)
        one_more_try(d, KEDGE_DEEP_SEGMENT_TRIES);
      if (d->done != 0)
        return;
    }
    if (ahead < 0) {
      size_t known = (size_t)(-(int64_t)ahead);
      if (known >= length)
        return;
      bytes += known;
      length -= known;
      sequence += (uint32_t)known;
    }
  }
  d->next[direction] = sequence + (uint32_t)length;
  d->follows[direction] = 1;
  if (d->reading == direction + 1u) {
    conclude(d, kedge_deep_read(&d->stream, bytes, length, name), name);
    if (d->reading == 0)
      one_more_try(d, KEDGE_DEEP_SEGMENT_TRIES);
    return;
  }
  struct kedge_deep_stream fresh = {0};
  if (d->reading != 0) {
    /* The other side speaks while this one is read: it is listened to only if it is clear at once. */
    struct kedge_deep_name other;
    if (d->application != KEDGE_APPLICATION_UNKNOWN) {
      /* It answers, so it has seen what did not come past here: the name is not to be had any more. */
      conclude(d, KEDGE_DEEP_NO, name);
      name_clear(name);
      return;
    }
    enum kedge_deep_result heard = kedge_deep_read(&fresh, bytes, length, &other);
    if (fresh.certain == 0)
      return;
    if (heard == KEDGE_DEEP_YES)
      *name = other;
    else
      name_clear(name);
    d->stream = fresh;
    conclude(d, KEDGE_DEEP_YES, name);
    return;
  }
  d->stream = fresh;
  d->reading = (uint8_t)(direction + 1u);
  enum kedge_deep_result result = kedge_deep_read(&d->stream, bytes, length, name);
  conclude(d, result, name);
  if (result == KEDGE_DEEP_NO)
    one_more_try(d, KEDGE_DEEP_SEGMENT_TRIES);
}

void kedge_deep_message(struct kedge_deep *d, const uint8_t *bytes, size_t length, struct kedge_deep_name *name)
{
  if (length == 0 || d->done != 0)
    return;
  d->application = (uint8_t)kedge_deep_datagram(bytes, length, name);
  if (d->application != KEDGE_APPLICATION_UNKNOWN)
    d->done = 1;
  else
    one_more_try(d, KEDGE_DEEP_DATAGRAM_TRIES);
}
