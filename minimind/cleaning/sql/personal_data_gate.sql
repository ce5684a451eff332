-- no table: which texts are worth a look at for personal data, at the speed of one regular expression
-- Every text with a hit of find_personal_data() matches; most others do not. RE2 makes one automaton of all kinds.
create macro may_hold_personal_data(text) as regexp_matches(text, array_to_string([
    -- e-mail: also name [at] host and <name at host.org>
    '@',
    '[\[({](?i:at)[\])}]',
    '<[^<>\n ]+ at [^<>\n ]+>',
    -- IBAN, card
    '\b[A-Z]{2}[0-9]{2}(?:[ \x{a0}]?[A-Z0-9]{4}){2}[ \x{a0}]?[A-Z0-9]{3}',
    '(?:[0-9][ -]?){12}[0-9]',
    -- social security number
    '\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b',
    '\b(?i:ssn|social security)\b.{0,60}[0-9]{3} ?[0-9]{2} ?[0-9]{4}',
    -- IP address: with a number of three digits, or after a word that says so; version 6
    '[0-9]{3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]',
    '[0-9]\.[0-9]{3}\.[0-9]{1,3}\.[0-9]',
    '[0-9]\.[0-9]{1,3}\.[0-9]{3}\.[0-9]',
    '[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{3}',
    '(?:\b(?i:ip|ipv4|inet|hosts?|(?:name)?servers?|dns|ping|ssh|subnet|gateway|router|proxy)\b|//).{0,30}'
    || '[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]',
    '[23fF][0-9a-fA-F]{3}:[0-9a-fA-F]{0,4}:',
    -- phone: with a country code, after a word that says so, as North America writes them
    '\+ ?[0-9]{1,3} ?(?:\([0-9]{1,5}\))?(?:[ \x{a0}.\-\x{2010}-\x{2013}/]{0,3}[0-9]){4}',
    '(?:^|[^\p{L}\p{N}])(?i:tel|telephone|phone|fax|facsimile|mobile|cell|cellular|call|dial|hotline|tty|tdd|telefon'
    || '|telefax|fon|mobil|handy|fernsprecher|téléphone|tél)[^\p{L}\p{N}+][^0-9+\n]{0,25}'
    || '[0-9](?:[ \x{a0}().\-\x{2010}-\x{2013}/]{0,5}[0-9]){3}',
    '[2-9][0-9]{2}(?:\) ?|[-\x{2010}-\x{2013}.])[2-9][0-9]{2}[-\x{2010}-\x{2013}. ][0-9]{4}'
], '|'));
