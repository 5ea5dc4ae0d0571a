/*
 * Fuzz target: any frame under a whole table is judged as its rules say one by one; under a damaged one it is
 * judged somehow, within bounds.
 *
 *   input: table, zones, number of damages, [rules], the frame, and behind it, as its padding, damages of 3 bytes each
 *
 * It must see tables by the public functions alone.
 */
#include "damage.h"
#include "rule-input.h"

#define FEW 48u
#define MANY 2000u
#define OWN_MOST 12u

static struct kedge_level_table *few, *many, *own;
static struct kedge_rule rules_few[FEW], rules_many[MANY];
static struct kedge_rules set_few, set_many;
static struct places places_few, places_many, places_own;

static struct kedge_level_table *table_of(const struct kedge_rules *set, struct places *places)
{
  struct kedge_build_report report;
  struct kedge_level_table *table = malloc(sizeof(*table));
  if (table == NULL)
    abort();
  HOLDS(kedge_table_build(set, table, &report) == KEDGE_BUILD_OK);
  HOLDS(kedge_table_holds(table, set->level, set->generation));
  places_find(places, table, sizeof(*table));
  return table;
}

static void prepare(void)
{
  rules_fixed(rules_few, FEW);
  rules_fixed(rules_many, MANY);
  rule_set_of(&set_few, rules_few, FEW, 3, 7);
  rule_set_of(&set_many, rules_many, MANY, 2, 8);
  few = table_of(&set_few, &places_few);
  many = table_of(&set_many, &places_many);
  own = table_of(&set_few, &places_own);
}

/* Order and exceptions as classify.h says them. */
static void judged_as_written(const struct kedge_rules *set, const struct kedge_packet *p, unsigned from, unsigned to,
                              const struct kedge_judgement *j)
{
  unsigned verdict = KEDGE_VERDICT_DROP, reason;
  uint32_t entry = KEDGE_NO_ENTRY;
  if (from == 0 || to == 0 || from >= KEDGE_MAX_ZONES || to >= KEDGE_MAX_ZONES) {
    reason = KEDGE_REASON_ZONE;
  } else if (p->kind == KEDGE_PACKET_MALFORMED) {
    reason = KEDGE_REASON_MALFORMED;
  } else if (p->kind == KEDGE_PACKET_ETHERTYPE) {
    reason = KEDGE_REASON_ETHERTYPE;
  } else if (p->kind != KEDGE_PACKET_FLOW) {
    uint32_t flag = p->kind == KEDGE_PACKET_ARP ? KEDGE_LEVEL_ARP : p->kind == KEDGE_PACKET_ND ? KEDGE_LEVEL_ND : KEDGE_LEVEL_ICMP_ERROR;
    reason = KEDGE_REASON_NEIGHBOUR;
    verdict = (set->flags & flag) != 0 ? KEDGE_VERDICT_PASS : KEDGE_VERDICT_DROP;
  } else {
    const struct kedge_rule *rule = rule_for(set, p, from, to);
    reason = rule != NULL ? KEDGE_REASON_ENTRY : p->later_fragment ? KEDGE_REASON_FRAGMENT : KEDGE_REASON_PAIR;
    if (rule != NULL)
      verdict = rule->verdict, entry = rule->id;
    else if (!p->later_fragment)
      verdict = set->pair[from][to];
  }
  HOLDS(j->verdict == verdict);
  HOLDS(j->reason == reason);
  HOLDS(j->entry == entry);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct input in = {data, size};
  struct kedge_rule rule[OWN_MOST];
  struct kedge_rules set;
  struct kedge_build_report report;
  struct damage damage = {.count = 0};
  struct kedge_packet packet;
  struct kedge_judgement judgement;
  if (few == NULL)
    prepare();
  unsigned which = (unsigned)take(&in, 1), zones = (unsigned)take(&in, 1), damages = (unsigned)take(&in, 1) % 16u;
  unsigned from = zones & 15u, to = zones >> 4;
  if ((which & 0x80) != 0)
    from += 16; /* zones that do not exist */
  struct kedge_level_table *table = few;
  struct places *places = &places_few;
  set = set_few;
  if (which % 4 == 1) {
    table = many, places = &places_many, set = set_many;
  } else if (which % 4 == 2) {
    unsigned count = (unsigned)take(&in, 1) % (OWN_MOST + 1u);
    for (unsigned i = 0; i < count; i++)
      rule_take(&in, &rule[i]);
    rule_set_of(&set, rule, count, 1 + which / 4 % 5, 9);
    table = own, places = &places_own;
    if (kedge_table_build(&set, own, &report) != KEDGE_BUILD_OK) {
      HOLDS(own->valid == 0 && report.at < OWN_MOST);
      return 0;
    }
    HOLDS(kedge_table_holds(own, set.level, 9) && report.entries + report.duplicates == count);
  }
  if (damages > in.left / 3)
    damages = (unsigned)(in.left / 3);
  struct input tail = {in.at + in.left - 3 * damages, 3 * damages};
  for (unsigned i = 0; i < damages; i++) {
    unsigned pick = (unsigned)take(&tail, 2), value = (unsigned)take(&tail, 1);
    /* Every other value is the largest: what counts is seldom in between. */
    poke(&damage, (uint8_t *)table + place_of(places, pick), (value & 1u) != 0 ? 0xff : value, 1);
  }
  if (damages > 0)
    poke(&damage, &table->valid, 1, sizeof(table->valid));
  uint8_t *frame = copy_of(in.at, in.left);
  kedge_packet_parse(frame, in.left, &packet);
  kedge_classify((which & 0x40) != 0 ? NULL : table, &packet, from, to, &judgement);
  judgement_is_in_range(&judgement);
  HOLDS(judgement.verdict == KEDGE_VERDICT_DROP || packet.kind >= KEDGE_PACKET_FLOW);
  if (damages == 0 && (which & 0x40) == 0)
    judged_as_written(&set, &packet, from, to, &judgement);
  free(frame);
  repair(&damage);
  return 0;
}
