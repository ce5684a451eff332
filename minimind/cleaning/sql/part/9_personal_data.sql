-- one row is a hit: personal data of a kind in a text, from start_char (0 is the first) up to before end_char
select text_key, unnest(find_personal_data(text, $phone_region, $found_kinds), recursive := true)
from texts
where len($found_kinds) > 0 and may_hold_personal_data(text)
