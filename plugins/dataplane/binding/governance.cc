/*
 * The governance core for Node: building, stamping, checking and asking level tables in a caller's bytes.
 *
 * It must hold no state and no policy: arguments come checked from src/, each function makes one call
 * into the core and gives back plain numbers.
 */
#include <napi.h>

#include <cstring>

#include "../core/builder.h"
#include "../core/classify.h"
#include "../core/packet.h"

namespace {

/* The bytes behind a Buffer or Uint8Array; throws where there are none. */
struct Bytes {
  uint8_t *at;
  size_t length;
};

Bytes bytes_of(const Napi::CallbackInfo &info, size_t index, const char *what)
{
  if (info.Length() <= index || !info[index].IsTypedArray() ||
      info[index].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
    throw Napi::TypeError::New(info.Env(), std::string(what) + " must be bytes");
  Napi::Uint8Array array = info[index].As<Napi::Uint8Array>();
  return {array.Data(), array.ByteLength()};
}

uint32_t number_of(const Napi::CallbackInfo &info, size_t index, const char *what)
{
  if (info.Length() <= index || !info[index].IsNumber())
    throw Napi::TypeError::New(info.Env(), std::string(what) + " must be a number");
  return info[index].As<Napi::Number>().Uint32Value();
}

uint64_t wide_of(const Napi::CallbackInfo &info, size_t index, const char *what)
{
  bool lossless = false;
  uint64_t value = info.Length() > index && info[index].IsBigInt()
                       ? info[index].As<Napi::BigInt>().Uint64Value(&lossless)
                       : 0;
  if (!lossless)
    throw Napi::TypeError::New(info.Env(), std::string(what) + " must be a bigint of 64 bits");
  return value;
}

/* A level table in a caller's bytes; NULL for null and undefined where that is allowed. */
kedge_level_table *table_of(const Napi::CallbackInfo &info, size_t index, bool optional)
{
  if (optional && (info.Length() <= index || info[index].IsNull() || info[index].IsUndefined()))
    return nullptr;
  Bytes bytes = bytes_of(info, index, "the table");
  if (bytes.length != sizeof(kedge_level_table))
    throw Napi::RangeError::New(info.Env(), "the table has another size than a level table");
  if (reinterpret_cast<uintptr_t>(bytes.at) % alignof(kedge_level_table) != 0)
    throw Napi::RangeError::New(info.Env(), "the table does not stand at a multiple of eight bytes");
  return reinterpret_cast<kedge_level_table *>(bytes.at);
}

Napi::Object judgement_object(Napi::Env env, const kedge_judgement &j)
{
  Napi::Object out = Napi::Object::New(env);
  out.Set("verdict", j.verdict);
  out.Set("reason", j.reason);
  out.Set("sourceZone", j.source_zone);
  out.Set("destinationZone", j.destination_zone);
  out.Set("entry", j.entry == KEDGE_NO_ENTRY ? -1.0 : static_cast<double>(j.entry));
  out.Set("probes", j.probes);
  return out;
}

Napi::Object packet_object(Napi::Env env, const kedge_packet &packet)
{
  Napi::Object out = Napi::Object::New(env);
  out.Set("kind", packet.kind);
  out.Set("family", packet.family);
  out.Set("laterFragment", packet.later_fragment);
  out.Set("vlanTags", packet.vlan_tags);
  out.Set("vlan", packet.vlan);
  out.Set("protocol", packet.key.protocol);
  out.Set("sourcePort", packet.key.source_port);
  out.Set("destinationPort", packet.key.destination_port);
  out.Set("source", Napi::Buffer<uint8_t>::Copy(env, packet.key.source, 16));
  out.Set("destination", Napi::Buffer<uint8_t>::Copy(env, packet.key.destination, 16));
  return out;
}

/* build(table, level, flags, generation, pairs, rules): rules are kedge_rule structs one after the other. */
Napi::Value build(const Napi::CallbackInfo &info)
{
  kedge_level_table *table = table_of(info, 0, false);
  kedge_rules rules = {};
  rules.level = number_of(info, 1, "level");
  rules.flags = number_of(info, 2, "flags");
  rules.generation = wide_of(info, 3, "generation");
  Bytes pairs = bytes_of(info, 4, "pairs");
  Bytes rule = bytes_of(info, 5, "rules");
  if (pairs.length != sizeof(rules.pair) || rule.length % sizeof(kedge_rule) != 0 ||
      reinterpret_cast<uintptr_t>(rule.at) % alignof(kedge_rule) != 0)
    throw Napi::RangeError::New(info.Env(), "pairs or rules have another size than the core's");
  std::memcpy(rules.pair, pairs.at, sizeof(rules.pair));
  rules.rule = reinterpret_cast<const kedge_rule *>(rule.at);
  rules.rules = static_cast<uint32_t>(rule.length / sizeof(kedge_rule));
  kedge_build_report report;
  kedge_build outcome = kedge_table_build(&rules, table, &report);
  Napi::Object out = Napi::Object::New(info.Env());
  out.Set("outcome", static_cast<uint32_t>(outcome));
  out.Set("at", report.at);
  out.Set("family", report.family);
  out.Set("entries", report.entries);
  out.Set("duplicates", report.duplicates);
  out.Set("shapes4", report.shapes[KEDGE_FAMILY_IP4]);
  out.Set("shapes6", report.shapes[KEDGE_FAMILY_IP6]);
  out.Set("longest", report.longest);
  return out;
}

/* stamp(table, generation) */
void stamp(const Napi::CallbackInfo &info)
{
  kedge_table_stamp(table_of(info, 0, false), wide_of(info, 1, "generation"));
}

/* holds(table, level, generation) → boolean */
Napi::Value holds(const Napi::CallbackInfo &info)
{
  const kedge_level_table *table = table_of(info, 0, false);
  return Napi::Boolean::New(info.Env(),
                            kedge_table_holds(table, number_of(info, 1, "level"), wide_of(info, 2, "generation")));
}

/* classifyFrame(table | null, frame, sourceZone, destinationZone) */
Napi::Value classify_frame(const Napi::CallbackInfo &info)
{
  const kedge_level_table *table = table_of(info, 0, true);
  Bytes frame = bytes_of(info, 1, "the frame");
  kedge_packet packet;
  kedge_packet_parse(frame.at, frame.length, &packet);
  kedge_judgement judgement;
  kedge_classify(table, &packet, number_of(info, 2, "sourceZone"), number_of(info, 3, "destinationZone"), &judgement);
  return judgement_object(info.Env(), judgement);
}

/* classifyKey(table | null, family, laterFragment, source, destination, protocol, sourcePort, destinationPort,
 *             sourceZone, destinationZone) */
Napi::Value classify_key(const Napi::CallbackInfo &info)
{
  const kedge_level_table *table = table_of(info, 0, true);
  kedge_packet packet = {};
  packet.kind = KEDGE_PACKET_FLOW;
  packet.family = static_cast<uint8_t>(number_of(info, 1, "family"));
  packet.later_fragment = number_of(info, 2, "laterFragment") != 0;
  Bytes source = bytes_of(info, 3, "source");
  Bytes destination = bytes_of(info, 4, "destination");
  size_t width = packet.family == KEDGE_FAMILY_IP6 ? 16 : 4;
  if (packet.family >= KEDGE_FAMILIES || source.length != width || destination.length != width)
    throw Napi::RangeError::New(info.Env(), "an address has another length than its family's");
  std::memcpy(packet.key.source, source.at, width);
  std::memcpy(packet.key.destination, destination.at, width);
  packet.key.protocol = static_cast<uint8_t>(number_of(info, 5, "protocol"));
  packet.key.source_port = static_cast<uint16_t>(number_of(info, 6, "sourcePort"));
  packet.key.destination_port = static_cast<uint16_t>(number_of(info, 7, "destinationPort"));
  kedge_judgement judgement;
  kedge_classify(table, &packet, number_of(info, 8, "sourceZone"), number_of(info, 9, "destinationZone"), &judgement);
  return judgement_object(info.Env(), judgement);
}

/* parseFrame(frame) */
Napi::Value parse_frame(const Napi::CallbackInfo &info)
{
  Bytes frame = bytes_of(info, 0, "the frame");
  kedge_packet packet;
  kedge_packet_parse(frame.at, frame.length, &packet);
  return packet_object(info.Env(), packet);
}

/* markLe(frame) → a marked copy */
Napi::Value mark_le(const Napi::CallbackInfo &info)
{
  Bytes frame = bytes_of(info, 0, "the frame");
  kedge_packet packet;
  Napi::Buffer<uint8_t> copy = Napi::Buffer<uint8_t>::Copy(info.Env(), frame.at, frame.length);
  kedge_packet_parse(copy.Data(), copy.Length(), &packet);
  kedge_packet_mark_le(copy.Data(), &packet);
  return copy;
}

#define PLACE(object, type, field) (object).Set(#field, static_cast<double>(offsetof(type, field)))

Napi::Object init(Napi::Env env, Napi::Object exports)
{
  Napi::Object sizes = Napi::Object::New(env);
  sizes.Set("levelTable", static_cast<double>(sizeof(kedge_level_table)));
  sizes.Set("bank", static_cast<double>(sizeof(kedge_bank)));
  sizes.Set("bankLevels", static_cast<double>(offsetof(kedge_bank, level)));
  sizes.Set("rule", static_cast<double>(sizeof(kedge_rule)));
  sizes.Set("maxEntries", KEDGE_MAX_ENTRIES);
  sizes.Set("maxShapes", KEDGE_MAX_SHAPES);
  sizes.Set("maxZones", KEDGE_MAX_ZONES);
  sizes.Set("maxProbes", KEDGE_MAX_PROBES);
  sizes.Set("slots", KEDGE_SLOTS);
  exports.Set("sizes", sizes);

  Napi::Object rule = Napi::Object::New(env);
  PLACE(rule, kedge_rule, key.source);
  PLACE(rule, kedge_rule, key.destination);
  PLACE(rule, kedge_rule, key.source_port);
  PLACE(rule, kedge_rule, key.destination_port);
  PLACE(rule, kedge_rule, key.protocol);
  PLACE(rule, kedge_rule, key.source_zone);
  PLACE(rule, kedge_rule, key.destination_zone);
  PLACE(rule, kedge_rule, shape.source_prefix);
  PLACE(rule, kedge_rule, shape.destination_prefix);
  PLACE(rule, kedge_rule, shape.match_protocol);
  PLACE(rule, kedge_rule, shape.match_source_port);
  PLACE(rule, kedge_rule, shape.match_destination_port);
  PLACE(rule, kedge_rule, shape.match_source_zone);
  PLACE(rule, kedge_rule, shape.match_destination_zone);
  PLACE(rule, kedge_rule, id);
  PLACE(rule, kedge_rule, rank);
  PLACE(rule, kedge_rule, family);
  PLACE(rule, kedge_rule, verdict);
  exports.Set("rule", rule);

  Napi::Object table = Napi::Object::New(env);
  PLACE(table, kedge_level_table, checksum);
  PLACE(table, kedge_level_table, valid);
  PLACE(table, kedge_level_table, level);
  PLACE(table, kedge_level_table, flags);
  PLACE(table, kedge_level_table, generation);
  PLACE(table, kedge_level_table, entries);
  PLACE(table, kedge_level_table, pair);
  exports.Set("table", table);

  exports.Set("build", Napi::Function::New(env, build, "build"));
  exports.Set("stamp", Napi::Function::New(env, stamp, "stamp"));
  exports.Set("holds", Napi::Function::New(env, holds, "holds"));
  exports.Set("classifyFrame", Napi::Function::New(env, classify_frame, "classifyFrame"));
  exports.Set("classifyKey", Napi::Function::New(env, classify_key, "classifyKey"));
  exports.Set("parseFrame", Napi::Function::New(env, parse_frame, "parseFrame"));
  exports.Set("markLe", Napi::Function::New(env, mark_le, "markLe"));
  return exports;
}

} // namespace

NODE_API_MODULE(governance, init)
