-- one row is a removed document with the step and the reason, and the kept document that stands in for it
select number, place, step, reason, kept_document_id
from unfit_documents
union all
select number, 9, 'decontamination', reason, null
from contaminated
