/*
 * Fuzz target: a tables segment with two banks, broken by the input, some tables stamped anew. What the loader
 * calls good is in range in every field; a worker follows only what the loader has looked at.
 *
 *   input: generation, state of the worker, then pieces of damage of 5 bytes each, then a frame
 *
 * It must see tables by the public functions and the layout alone.
 */
#include "banks.h"
#include "damage.h"
#include "loader.h"
#include "rule-input.h"

#define RULES 96u
#define DAMAGES_MOST 12u

static struct kedge_tables_segment *tables;
static struct kedge_rule rules[RULES];
static struct places places;

static void prepare(void)
{
  struct kedge_build_report report;
  tables = calloc(1, sizeof(*tables));
  if (tables == NULL)
    abort();
  rules_fixed(rules, RULES);
  for (uint64_t generation = 2; generation <= 3; generation++) {
    struct kedge_bank *bank = &tables->bank[generation % KEDGE_BANKS];
    for (unsigned level = 1; level <= KEDGE_LEVELS; level++) {
      struct kedge_rules set;
      rule_set_of(&set, rules, RULES, level, generation);
      HOLDS(kedge_table_build(&set, &bank->level[level - 1], &report) == KEDGE_BUILD_OK);
    }
    bank->generation = generation;
    HOLDS(kedge_bank_judge(tables, generation) == 0x3e);
  }
  tables->generation = 3;
  places_find(&places, &tables->bank[0].level[0], sizeof(tables->bank[0].level[0]));
}

/* Everything that a packet worker leans on. */
static void table_is_in_range(const struct kedge_level_table *t, unsigned level, uint64_t generation)
{
  HOLDS(t->valid == 1 && t->level == level && t->generation == generation && t->entries <= KEDGE_MAX_ENTRIES);
  for (unsigned i = 0; i < KEDGE_MAX_ZONES * KEDGE_MAX_ZONES; i++)
    HOLDS((&t->pair[0][0])[i] >= KEDGE_VERDICT_DROP && (&t->pair[0][0])[i] <= KEDGE_VERDICT_PASS);
  for (unsigned f = 0; f < KEDGE_FAMILIES; f++) {
    HOLDS(t->family[f].shapes <= KEDGE_MAX_SHAPES);
    for (unsigned s = 0; s < t->family[f].shapes; s++)
      HOLDS(t->family[f].shape[s].source_prefix <= 128 && t->family[f].shape[s].destination_prefix <= 128);
  }
  for (uint32_t i = 0; i < t->entries; i++) {
    const struct kedge_entry *e = &t->entry[i];
    HOLDS(e->key.reserved < KEDGE_FAMILIES && e->shape < t->family[e->key.reserved].shapes);
    HOLDS(e->verdict >= KEDGE_VERDICT_DROP && e->verdict <= KEDGE_VERDICT_PASS && e->id < KEDGE_MAX_ENTRIES);
  }
}

static void worker_follows(struct input *in)
{
  KEDGE_ATOMIC(uint64_t) published;
  kedge_bank_finding finding[KEDGE_BANKS];
  struct kedge_bank_use use = {take(in, 1) % 5, (unsigned)take(in, 1)};
  uint64_t before = use.generation, segment = tables->generation;
  atomic_store(&published, use.generation);
  for (unsigned i = 0; i < KEDGE_BANKS; i++)
    atomic_store(&finding[i], take(in, 2));
  bool changed = kedge_bank_follow(&use, &published, tables, finding);
  HOLDS(changed == (use.generation != before));
  HOLDS(use.generation == 0 || atomic_load(&published) == use.generation);
  HOLDS(!changed || use.generation == 0 ||
        (use.generation == segment && atomic_load(&finding[segment % KEDGE_BANKS]) >> 8 == segment));
  for (unsigned level = 0; level < 8; level++) {
    const struct kedge_level_table *t = kedge_bank_table(&use, tables, level);
    HOLDS(t == NULL || (level >= 1 && level <= KEDGE_LEVELS && use.generation != 0 && (use.levels >> level & 1u) != 0 &&
                        t == &tables->bank[use.generation % KEDGE_BANKS].level[level - 1]));
  }
  kedge_bank_leave(&use, &published);
  HOLDS(atomic_load(&published) == 0 && kedge_bank_table(&use, tables, 3) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct input in = {data, size};
  struct damage damage = {.count = 0};
  unsigned stamped = 0;
  if (tables == NULL)
    prepare();
  unsigned flags = (unsigned)take(&in, 1), count = (unsigned)take(&in, 1) % (DAMAGES_MOST + 1u);
  uint64_t generation = (flags & 1u) != 0 ? 3 : 2;
  struct kedge_bank *bank = &tables->bank[generation % KEDGE_BANKS];
  poke(&damage, &tables->generation, (flags & 2u) != 0 ? take(&in, 8) : generation, 8);
  if ((flags & 4u) != 0)
    poke(&damage, &bank->generation, take(&in, 1), 8);
  for (unsigned i = 0; i < count; i++) {
    unsigned how = (unsigned)take(&in, 1);
    struct kedge_level_table *t = &bank->level[how % KEDGE_LEVELS];
    size_t place = place_of(&places, (unsigned)take(&in, 2));
    unsigned bytes = 1u << (how >> 6);
    if (place + bytes <= sizeof(*t))
      poke(&damage, (uint8_t *)t + place, take(&in, 2), bytes);
    if ((how & 0x20) != 0) {
      poke(&damage, &t->checksum, kedge_table_checksum(t), sizeof(t->checksum));
      stamped |= 1u << how % KEDGE_LEVELS;
    }
  }
  unsigned levels = kedge_bank_judge(tables, generation);
  HOLDS((levels & ~0x3eu) == 0 && (levels == 0 || bank->generation == generation));
  worker_follows(&in);
  uint8_t *frame = copy_of(in.at, in.left);
  struct kedge_packet packet;
  kedge_packet_parse(frame, in.left, &packet);
  for (unsigned level = 1; level <= KEDGE_LEVELS; level++) {
    const struct kedge_level_table *t = &bank->level[level - 1];
    struct kedge_judgement judgement;
    if ((levels >> level & 1u) != 0 && (stamped >> (level - 1) & 1u) != 0)
      table_is_in_range(t, level, generation);
    kedge_classify(t, &packet, 2, 3, &judgement);
    judgement_is_in_range(&judgement);
  }
  free(frame);
  repair(&damage);
  return 0;
}
