/**
 * What somebody asks to be changed of the routes of one mode, read from a request and checked; and the form in which
 * a desired set of them stands in its file.
 * It must not change anything.
 */
import type { RouteKeyMessage, RouteMessage } from '@kedge/bus';
import type { DesiredKind } from '@kedge/reconcile';
import { routeKey, type RouteSpec, routeSpecOf } from '@kedge/routes';
import { KedgeError } from '@kedge/units';

type RouteMode = RouteSpec['mode'];

/** Most routes that one request adds, removes, and names in all. */
export const MAX_ADDED = 200;
/** See {@link MAX_ADDED}. */
export const MAX_REMOVED = 1_000;
/** See {@link MAX_ADDED}. */
export const MAX_CHANGED = 200;

/** A change, in canonical form: each key once. */
export interface RouteChange {
  readonly add: readonly RouteSpec[];
  /** Keys, see `routeKey`. */
  readonly remove: readonly string[];
}

function wrong(field: string, expected: string): KedgeError {
  return new KedgeError({
    code: 'ROUTE_SET_REQUEST',
    message: `cannot change routes: ${field} is wrong`,
    field,
    expected,
  });
}

/** @throws KedgeError `ROUTE_SET_REQUEST` */
export function principalOf(text: string): string {
  // What stands in records and logs has no control characters.
  if (!/^[^\p{Cc}\p{Cs}]{1,128}$/u.test(text)) {
    throw wrong('principal', '1 to 128 characters without control characters, "user:ada"');
  }
  return text;
}

/** The change that a request asks for. `at` are the names of its lists, for errors. */
export interface AskedChange {
  readonly add: readonly RouteMessage[];
  readonly remove: readonly RouteKeyMessage[];
}

/**
 * A change from a request, checked as a whole.
 *
 * @param limits how many routes may be added and removed, and in all.
 * @param names of the two lists in the request.
 * @throws KedgeError `ROUTES_SPEC` or `ROUTE_SET_REQUEST`, naming the field.
 */
export function changeOf(
  mode: RouteMode,
  asked: AskedChange,
  limits: { readonly add: number; readonly remove: number; readonly all: number },
  names: { readonly add: string; readonly remove: string },
): RouteChange {
  const { add, remove } = asked;
  const counts = [
    [names.add, add.length, limits.add],
    [names.remove, remove.length, limits.remove],
  ] as const;
  for (const [field, count, most] of counts) {
    if (count > most) throw wrong(field, `at most ${most} routes, not ${count}`);
  }
  const all = add.length + remove.length;
  if (all === 0 || all > limits.all) {
    throw wrong(limits.add > 0 ? names.add : names.remove, `1 to ${limits.all} routes in all, not ${all}`);
  }
  const seen = new Map<string, string>();
  const once = (key: string, field: string): string => {
    const before = seen.get(key);
    if (before !== undefined) throw wrong(field, `each route once, it is ${before} as well`);
    seen.set(key, field);
    return key;
  };
  return {
    add: add.map((message, index) => {
      const field = `${names.add}[${index}]`;
      const { via, ...rest } = message;
      const route = routeSpecOf({ ...rest, via: via === '' ? undefined : via, mode }, field);
      once(routeKey(route), field);
      return route;
    }),
    remove: remove.map(({ destination, metric }, index) => {
      const field = `${names.remove}[${index}]`;
      // Canonical text, so that whatever was added can be named as it was.
      const { destination: canonical } = routeSpecOf(
        { destination, via: undefined, dev: 'lo', metric, mode, purpose: 'ordinary', tier: 'site_owner' },
        field,
      );
      return once(routeKey({ destination: canonical, metric }), field);
    }),
  };
}

/** A route on the wire. */
export function routeMessageOf({ destination, via, dev, metric, purpose, tier }: RouteSpec): RouteMessage {
  return { destination, via: via ?? '', dev, metric: metric ?? 0, purpose, tier };
}

/** How desired sets of one mode are kept. */
export function routeKind(mode: RouteMode): DesiredKind<RouteSpec> {
  return {
    schema: `kedge.routes-${mode}/1`,
    keyOf: routeKey,
    parse: (value) => {
      if (typeof value !== 'object' || value === null) throw wrong('items', 'a route');
      const route = routeSpecOf(value as RouteSpec, 'item');
      if (route.mode !== mode) throw wrong('item.mode', mode);
      return route;
    },
  };
}
