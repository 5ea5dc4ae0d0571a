/*
 * libyang as this package sees it: one set of names for versions 2.1, 3 and newer, which differ in a few of theirs.
 * It must not hold anything that libyang does not have; LY_VERSION_* is the version of the library's interface.
 */
#pragma once

#include <libyang/libyang.h>
/* libyang.h of 2.1 leaves it out: without it every comparison below would silently take the older side. */
#include <libyang/version.h>

#if !defined(LY_VERSION_MAJOR) || LY_VERSION_MAJOR < 2
#error "libyang 2.1 or newer is needed"
#endif

namespace kedge_yang {

/* Validation goes on after the first error from 2.1.55 on; a macro tells, not a number. */
#ifdef LYD_VALIDATE_MULTI_ERROR
constexpr uint32_t VALIDATE_EVERY_ERROR = LYD_VALIDATE_MULTI_ERROR;
constexpr bool EVERY_ERROR = true;
#else
constexpr uint32_t VALIDATE_EVERY_ERROR = 0;
constexpr bool EVERY_ERROR = false;
#endif

#ifdef LYD_NEW_VAL_OUTPUT
constexpr uint32_t NEW_PATH_OUTPUT = LYD_NEW_VAL_OUTPUT;
#else
constexpr uint32_t NEW_PATH_OUTPUT = LYD_NEW_PATH_OUTPUT;
#endif

#if LY_VERSION_MAJOR >= 4
constexpr uint32_t PRINT_SIBLINGS = LYD_PRINT_SIBLINGS;
constexpr uint32_t PRINT_EMPTY_CONTAINERS = LYD_PRINT_EMPTY_CONT;
/* It reads its own modules from there. */
constexpr const char *OWN_MODULES = "/usr/share/yang/modules/libyang";
#else
constexpr uint32_t PRINT_SIBLINGS = LYD_PRINT_WITHSIBLINGS;
constexpr uint32_t PRINT_EMPTY_CONTAINERS = LYD_PRINT_KEEPEMPTYCONT;
constexpr const char *OWN_MODULES = nullptr;
#endif

inline LY_ERR parse_operation(const ly_ctx *ctx, lyd_node *parent, ly_in *in, LYD_FORMAT format, lyd_type type,
                              lyd_node **tree, lyd_node **op)
{
#if LY_VERSION_MAJOR >= 4
  return lyd_parse_op(ctx, parent, in, format, type, LYD_PARSE_STRICT, tree, op);
#else
  return lyd_parse_op(ctx, parent, in, format, type, tree, op);
#endif
}

/* Nodes that XPath selects in a whole tree. */
inline LY_ERR find_xpath(const lyd_node *tree, const char *xpath, ly_set **set)
{
  return lyd_find_xpath(tree, xpath, set);
}

/* Calls `each` with the text of every default of a leaf or leaf-list. */
template <typename Each> void each_default(const ly_ctx *ctx, const lysc_node *node, Each each)
{
  (void)ctx;
  if (node->nodetype == LYS_LEAF) {
    const auto &dflt = reinterpret_cast<const lysc_node_leaf *>(node)->dflt;
#if LY_VERSION_MAJOR >= 4
    if (dflt.str != nullptr)
      each(dflt.str);
#else
    if (dflt != nullptr)
      each(lyd_value_get_canonical(ctx, dflt));
#endif
  } else if (node->nodetype == LYS_LEAFLIST) {
    const auto &dflts = reinterpret_cast<const lysc_node_leaflist *>(node)->dflts;
    LY_ARRAY_COUNT_TYPE i;
    LY_ARRAY_FOR(dflts, i)
    {
#if LY_VERSION_MAJOR >= 4
      each(dflts[i].str);
#else
      each(lyd_value_get_canonical(ctx, dflts[i]));
#endif
    }
  }
}

} // namespace kedge_yang
