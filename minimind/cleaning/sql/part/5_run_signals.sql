-- one row is a text and how much of it repeats itself, by runs of 2 to 10 words between blanks
select text_key, unnest(repetition_of(text))
from texts
where chars > 0
